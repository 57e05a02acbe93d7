"""Display of a run: progress bars on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from logan_campaign.flows.local.events import (
    Event,
    JobFailed,
    JobFinished,
    JobProgress,
    JobsAdded,
    JobStarted,
    RunStarted,
)
from logan_campaign.flows.local.graph import JobKey, StageCount

_REDRAW_EVERY_S = 0.25
_LINE_EVERY_S = 5.0


class _Bars(Progress):
    """Bars below a line of text."""

    head = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the line and the bars."""
        yield Text(self.head, no_wrap=True, overflow="ellipsis")
        yield self.make_tasks_table(self.tasks)


class Display:
    """Shows the events of a run; use it as a context manager.

    Above the bars stand the time since the start and ``found``, a text that others set. Unfinished
    stages and running jobs have a bar each. The remaining time of a stage follows from its jobs
    that have ended, and from those that know how much is left to do. If the console is not a
    terminal, a line with the time is printed every few seconds if anything has changed.

    Args:
        console: output; standard error by default.
        quiet: show only failures.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self.found = ""
        self._began = time.monotonic()
        cut = partial(Column, no_wrap=True, overflow="ellipsis")
        self._bars = _Bars(
            TextColumn("{task.description}", markup=False, table_column=cut()),
            BarColumn(12),
            TextColumn("{task.fields[count]}", table_column=cut(min_width=5)),
            TimeRemainingColumn(table_column=cut(min_width=7)),
            TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=cut()),
            console=self.console,
            auto_refresh=False,  # would start a thread in a process that forks
            transient=True,
            disable=quiet or not self.console.is_terminal,
            get_time=lambda: time.monotonic(),
            speed_estimate_period=math.inf,
        )
        self._counts: dict[str, StageCount] = {}
        self._stages: dict[str, Task] = {}
        self._jobs: dict[JobKey, Task] = {}
        self._shown_at = time.monotonic()
        self._last_line = ""

    def __enter__(self) -> Display:
        if not self._bars.disable:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if not self._bars.disable:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Handle an event, and redraw if it is time."""
        if isinstance(event, RunStarted | JobsAdded | JobFinished | JobFailed):
            self._counts = event.stages
        if isinstance(event, JobStarted):
            stage = event.task
            if stage not in self._stages:
                count = self._counts.get(stage, StageCount(0, 1))
                self._stages[stage] = self._add(stage, stage, count.all, count.ended)
            self._jobs[event.key] = self._add(f"  {event.name}", stage)
        elif isinstance(event, JobProgress):
            self._report(self._jobs[event.key], event)
        elif isinstance(event, JobFinished | JobFailed) and event.key in self._jobs:
            self._bars.remove_task(self._jobs.pop(event.key).id)
        if isinstance(event, JobFailed):
            stamp = f"{_stamp()} " if self._bars.disable and not self.quiet else ""
            text = f"{stamp}failed: {event.name}: {event.error}"
            line = Text(text, style="red", overflow="fold")
            self.console.print(line, soft_wrap=True)
        for stage, bar in self._stages.items():
            self._count(stage, bar)
        if not self.quiet:
            self._show()

    def _add(self, name: str, stage: str, total: float | None = None, completed: int = 0) -> Task:
        self._bars.add_task(
            name, total=total, completed=completed, stage=stage, count="", task="", note=""
        )
        return self._bars.tasks[-1]

    def _report(self, bar: Task, event: JobProgress) -> None:
        said = event.progress
        if not said.total:
            self._bars.update(bar.id, note=said.note or f"{said.task} {said.completed}")
            return
        # the next task of a job has its own remaining time
        change = self._bars.update if bar.fields.get("task") == said.task else self._bars.reset
        change(
            bar.id,
            total=said.total,
            completed=said.completed,
            count=f"{said.completed}/{said.total}",
            task=said.task,
            note=said.note,
            stage=bar.fields["stage"],
        )

    def _count(self, stage: str, bar: Task) -> None:
        ended, all_ = self._counts.get(stage, StageCount(0, 1))
        running = sum(
            job.percentage / 100 for job in self._jobs.values() if job.fields["stage"] == stage
        )
        # the fraction of a job with several tasks in sequence may fall
        done = max(bar.completed, min(all_, ended + running))
        count = f"{ended}/{all_}"
        self._bars.update(bar.id, total=all_, completed=done, count=count, visible=ended < all_)

    def _show(self) -> None:
        every = _LINE_EVERY_S if self._bars.disable else _REDRAW_EVERY_S
        if time.monotonic() - self._shown_at < every:
            return
        self._shown_at = time.monotonic()
        elapsed = timedelta(seconds=int(time.monotonic() - self._began))
        head = ", ".join(filter(None, (f"{elapsed} elapsed", self.found)))
        if not self._bars.disable:
            self._bars.head = head
            self._bars.refresh()
        elif (line := f"{self.found}; {self.line()}") != self._last_line:
            self._last_line = line
            self.console.print(Text(f"{_stamp()} {head}; {self.line()}"), soft_wrap=True)

    def line(self) -> str:
        """Return the contents of the bars as one line."""
        parts = []
        for stage, bar in self._stages.items():
            if bar.visible:
                left = bar.time_remaining
                when = "" if left is None else f" ({timedelta(seconds=round(left))} left)"
                parts.append(f"{stage} {bar.fields['count']}{when}")
        parts += [
            f"{bar.description.strip()}: "
            + " ".join(filter(None, (bar.fields["count"], bar.fields["note"])))
            for bar in self._jobs.values()
            if bar.fields["count"] or bar.fields["note"]
        ]
        return "; ".join(parts)


def _stamp() -> str:
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}"
