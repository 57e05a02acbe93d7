"""Shared by the commands: consoles, options, finding a campaign."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from logan_campaign.core.errors import InputError, StoreError

# Commands import heavy modules inside their functions, since every command, --help included,
# waits for imports made here. The linter (TID253) and a test check this.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from logan_campaign.flows import CampaignMaker
    from logan_campaign.flows.control import FlowControl
    from logan_campaign.stores.open import CampaignStores
    from logan_campaign.stores.queries import CampaignDatabase
    from logan_campaign.stores.records import CampaignRecord

logger = logging.getLogger(__name__)


def _campaigns(context: typer.Context, incomplete: str) -> list[str]:
    """Return what can stand for CAMPAIGN on this line, for shells: folders here, or names."""
    from logan_campaign.stores.open import campaigns_in, open_store

    if context.params.get("store") is None:
        found = campaigns_in(Path())
    else:
        try:
            with open_store(context.params["store"]) as stores:
                found = list(stores.collection("campaigns").distinct("name"))
        except StoreError:
            found = []
    return [name for name in sorted(found) if name.startswith(incomplete)]


CampaignArgument = Annotated[
    str,
    typer.Argument(
        metavar="CAMPAIGN",
        autocompletion=_campaigns,
        help="The campaign's folder or database file, or jf://PROJECT; with --store, its name "
        "or id.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LOGAN_CAMPAIGN_STORE",
        help="Where the campaign is stored, if not in its own folder: a folder, an SQLite file, "
        "mongodb://…/database, or jf://PROJECT for a jobflow-remote project.",
    ),
]
NewStoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="LOGAN_CAMPAIGN_STORE",
        help="Where to store the campaign: a folder, an SQLite file, or mongodb://…/database. "
        "By default a folder with the campaign's name.",
    ),
]
ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        "-p",
        envvar="JFREMOTE_PROJECT",
        help="The jobflow-remote project; needed only if there are several.",
    ),
]
TrustOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="MODULE",
        help="A Python module outside this package that stored jobs may call; repeatable.",
    ),
]

WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Jobs at a time on this machine; by default one per core."),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress, only how it ended.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


#: Characters per line if standard output is not a terminal.
_PIPE_WIDTH = 140


def console() -> Console:
    """Return the console for results, on standard output.

    A pipe or file has no width of its own: tables there must not be cut to a terminal's.
    """
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def err_console() -> Console:
    """Return the console for progress and errors, on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def escape(text: str) -> str:
    """Escape a text so that consoles print it unchanged, brackets included."""
    from rich.markup import escape as escaped

    return escaped(text)


def say(text: str) -> None:
    """Print a line as it stands, brackets included and not wrapped, on standard output."""
    console().print(text, markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Print a line as it stands on standard error."""
    err_console().print(text, markup=False, soft_wrap=True)


def table(*names: str, right: Collection[str] = (), no_wrap: Collection[str] = ()) -> Table:
    """Return a table with these columns and no rules; without names, it has no header.

    Args:
        *names: of the columns.
        right: columns that are aligned at their right, as numbers are.
        no_wrap: columns that are never broken.
    """
    from rich.table import Table

    made = Table(box=None, pad_edge=False, show_header=bool(names))
    for name in names:
        justify: Literal["right", "left"] = "right" if name in right else "left"
        made.add_column(name, justify=justify, no_wrap=name in no_wrap)
    return made


def number(value: float | None, digits: int) -> str:
    """Return a number for a table; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse to overwrite a file, or to write into a folder that is not empty.

    Raises:
        InputError: the path exists and ``--force`` was not given.
    """
    there = any(path.iterdir()) if path.is_dir() else path.exists()
    if there and not force:
        raise InputError(f"{path} exists; give another name, or --force to overwrite it")


def ask_before_overwriting(path: Path, force: bool) -> None:
    """Ask on a terminal whether to overwrite a file or folder; elsewhere refuse without --force.

    Raises:
        InputError: the path exists, and nobody can be asked, or the answer is no.
    """
    there = any(path.iterdir()) if path.is_dir() else path.exists()
    asked = there and not force and sys.stdin.isatty() and sys.stderr.isatty()
    refuse_existing(
        path, force or (asked and typer.confirm(f"{path} exists; overwrite?", err=True))
    )


def print_json(obj: Any) -> None:
    """Print an object as JSON, without colours or wrapping."""
    typer.echo(json.dumps(obj, indent=2, default=str, allow_nan=False))


@contextmanager
def opened(campaign: str, store: str | None) -> Iterator[tuple[CampaignDatabase, CampaignRecord]]:
    """Open the stores of a campaign and find its record.

    Raises:
        InputError: there is no such campaign, or there are several and no name was given.
        StoreError: the store cannot be reached.
    """
    from logan_campaign.stores.open import open_store
    from logan_campaign.stores.queries import CampaignDatabase

    with open_store(store if store is not None else campaign) as stores:
        follow(stores)
        database = CampaignDatabase(stores)
        yield database, database.campaign(None if store is None else campaign)


#: Prefix of locations that are jobflow-remote projects.
JF = "jf://"


def require_remote() -> None:
    """Raise InputError, with what to do, if jobflow-remote is not installed."""
    if importlib.util.find_spec("jobflow_remote") is None:
        raise InputError("jobflow-remote is not installed: pip install 'logan-campaign[remote]'")
    # each step triggers a deprecation warning of monty (removal in 2028)
    warnings.filterwarnings("ignore", category=FutureWarning, module="jobflow_remote")


def follow(stores: CampaignStores) -> None:
    """Bring the campaign database up to date with the job documents.

    A local run does this itself; a run that was killed and jobs on other machines do not. If
    the database cannot be written, its present contents are shown.
    """
    from logan_campaign.stores.collections import CAMPAIGN_DATABASE
    from logan_campaign.stores.current import outdated

    try:
        records = {name: stores.collection(name) for name in CAMPAIGN_DATABASE}
        if any(True for _ in outdated(stores.docs, records)):
            from logan_campaign.stores.builders import CampaignBuilder  # brings maggma

            say_how_jobs_ended(stores, CampaignBuilder.from_stores(stores).build())
    except StoreError as error:
        logger.warning("the campaign database could not be updated: %s", error)


def say_how_jobs_ended(stores: CampaignStores, campaign_ids: list[str]) -> None:
    """Give candidates whose job in a queue left no result the reason, which the queue knows.

    Args:
        stores: where the campaigns are.
        campaign_ids: those that were just built.
    """
    if not stores.describe().startswith(JF):
        return
    from logan_campaign.campaign.classification import NO_JOB  # brings SciPy and JAX

    candidates = stores.collection("candidates")
    for campaign_id in campaign_ids:
        found = list(candidates.query({"campaign_id": campaign_id, "reason": NO_JOB}))
        if not found:
            continue
        with control_of(stores, campaign_id, "") as control:
            ended = {job.name.split()[-1]: job.error for job in control.status().failures}
        told = [{**doc, "reason": ended[doc["id"]]} for doc in found if doc["id"] in ended]
        candidates.update(told, key="id")


@contextmanager
def control_of(stores: CampaignStores, campaign_id: str, name: str) -> Iterator[FlowControl]:
    """Reach the flow of a campaign, on this machine or in a queue.

    Raises:
        StoreError: the queue cannot be reached.
    """
    place = stores.describe()
    if place.startswith(JF):
        from logan_campaign.flows.remote.project import connected, load_project
        from logan_campaign.flows.remote.queue import RemoteFlow

        with connected(load_project(place.removeprefix(JF))) as controller:
            yield RemoteFlow(controller, campaign_id)
        return
    from logan_campaign.flows.local import Ledger, LocalFlow

    yield LocalFlow(Ledger(stores.ledger, campaign_id), work_folder(stores, name))


def campaign_maker(path: Path, overrides: list[str] | None) -> CampaignMaker:
    """Read a spec and return the Maker of its campaign.

    Raises:
        InputError: one line per mistake in the spec, before jobs and their libraries are imported.
    """
    from logan_campaign.campaign.spec import CampaignSpec

    spec = CampaignSpec.from_file(path, overrides or [])
    from logan_campaign.flows import CampaignMaker

    return CampaignMaker(name=spec.name, spec=spec, base=str(path.absolute().parent))


def work_folder(stores: CampaignStores, name: str) -> Path:
    """Return the folder for unfinished jobs of a campaign: beside an embedded store,
    or in the current directory for a remote one."""
    folder = stores.folder
    return (folder / "work" / name if folder is not None else Path(f"{name}.work")).absolute()
