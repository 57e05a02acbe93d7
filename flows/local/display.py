"""Shows a run to a person: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from logan_campaign.core.progress import Progress
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


class TimeLeft:
    """Estimates the time left from the share of the work done since it first looked."""

    def __init__(self, share: float) -> None:
        self._start, self._share = time.monotonic(), share

    def __call__(self, share: float) -> float | None:
        """Return the time left in seconds when ``share`` is done; None if it cannot tell."""
        gained = share - self._share
        if gained <= 0:
            return None
        return (time.monotonic() - self._start) * (1 - share) / gained


class _Job:
    def __init__(self, name: str, task: str) -> None:
        self.name, self.task, self.started = name, task, time.monotonic()
        self.progress: Progress | None = None
        self._left = TimeLeft(0.0)

    @property
    def share(self) -> float:
        done = self.progress
        return min(1.0, done.completed / done.total) if done and done.total > 0 else 0.0

    @property
    def left(self) -> float | None:
        return self._left(self.share)

    def report(self, progress: Progress) -> None:
        before = self.progress
        self.progress = progress
        if before is None or before.task != progress.task:
            self._left = TimeLeft(self.share)


class Display:
    """Listens to the events of a run and shows them; use it as a context.

    Stages with jobs left and running jobs have a bar each, with the time left. Where the
    console is no terminal, a line says the same every few seconds, if anything has changed.

    Args:
        console: where to; standard error if not given.
        quiet: show nothing but failures.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self.quiet = quiet
        self._stages: dict[str, StageCount] = {}
        self._left: dict[str, TimeLeft] = {}
        self._jobs: dict[JobKey, _Job] = {}
        self._shown_at = time.monotonic()
        self._last_line = ""
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if self.console.is_terminal and not self.quiet:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def __call__(self, event: Event) -> None:
        """Take in an event, and redraw if it is time."""
        if isinstance(event, RunStarted | JobsAdded | JobFinished | JobFailed):
            self._stages = event.stages
        if isinstance(event, JobStarted):
            self._jobs[event.key] = _Job(event.name, event.task)
            stage = event.task
            if stage not in self._left:
                self._left[stage] = TimeLeft(self._share(stage))
        elif isinstance(event, JobProgress):
            self._jobs[event.key].report(event.progress)
        elif isinstance(event, JobFinished | JobFailed):
            self._jobs.pop(event.key, None)
        if isinstance(event, JobFailed):
            line = Text(f"failed: {event.name}: {event.error}", style="red", overflow="fold")
            self.console.print(line, soft_wrap=True)
        if not self.quiet:
            self._show()

    def _show(self) -> None:
        every = _REDRAW_EVERY_S if self._live else _LINE_EVERY_S
        if time.monotonic() - self._shown_at < every:
            return
        self._shown_at = time.monotonic()
        if self._live:
            self._live.update(self.table(), refresh=True)
        elif (line := self.line()) != self._last_line:
            self._last_line = line
            self.console.print(Text(line), soft_wrap=True)

    def table(self) -> Table:
        """Return the bars: stages under way, then the jobs that are running."""
        table = Table.grid(padding=(0, 1))
        for stage in self._under_way():
            ended, all_ = self._stages[stage]
            share = self._share(stage)
            table.add_row(
                Text(stage, style="bold"),
                ProgressBar(total=1.0, completed=share, width=30),
                f"{ended}/{all_}",
                _clock(self._left[stage](share)),
                "",
            )
        for job in self._jobs.values():
            progress = job.progress
            table.add_row(
                Text(f"  {job.name}"),
                ProgressBar(total=1.0, completed=job.share, width=30, pulse=progress is None),
                f"{progress.completed}/{progress.total}" if progress else "",
                _clock(job.left),
                Text(f"{progress.task} {progress.note}" if progress else "", style="dim"),
            )
        ended, all_ = map(sum, zip(*self._stages.values(), strict=True)) if self._stages else (0, 0)
        table.add_row(Text("all jobs so far", style="dim"), "", f"{ended}/{all_}", "", "")
        return table

    def line(self) -> str:
        """Return the same in one line."""
        parts = []
        for stage in self._under_way():
            ended, all_ = self._stages[stage]
            left = self._left[stage](self._share(stage))
            parts.append(f"{stage} {ended}/{all_}" + (f" ({_clock(left)} left)" if left else ""))
        for job in self._jobs.values():
            if job.progress:
                done = f"{job.progress.completed}/{job.progress.total} {job.progress.note}"
                parts.append(f"{job.name}: {done}".strip())
        return "; ".join(parts)

    def _under_way(self) -> list[str]:
        """Stages that have begun in this run and have jobs left."""
        return [s for s, n in self._stages.items() if s in self._left and n.ended < n.all]

    def _share(self, stage: str) -> float:
        ended, all_ = self._stages.get(stage, (0, 1))
        running = sum(job.share for job in self._jobs.values() if job.task == stage)
        return min(1.0, (ended + running) / all_)


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "-:--:--"
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
