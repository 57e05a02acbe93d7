"""``logan-campaign data pull`` and ``import``: from a source into a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from logan_campaign.cli.common import JsonOption, console, err_console, print_json
from logan_campaign.cli.data import (
    DEFAULT_STORE,
    DataStoreOption,
    changes_text,
    data_app,
    describe,
)
from logan_campaign.core import progress
from logan_campaign.core.errors import InputError, plain

if TYPE_CHECKING:
    from jobflow import Job, JobStore

    from logan_campaign.core.documents import Manifest
    from logan_campaign.sources import Source

pull_app = typer.Typer(
    name="pull",
    no_args_is_help=True,
    help="Pull a set from a source on the network; repeat a pull to see what has changed.",
)
data_app.add_typer(pull_app)

FormulaOption = Annotated[
    list[str] | None,
    typer.Option("--formula", help="Only this composition; repeatable."),
]
AtomsOption = Annotated[
    tuple[int, int] | None,
    typer.Option("--n-atoms", metavar="MIN MAX", help="Range of the number of atoms."),
]


@pull_app.command("mp")
def pull_mp(
    formula: FormulaOption = None,
    chemsys: Annotated[
        list[str] | None, typer.Option("--chemsys", help="Chemical system, such as Si-O.")
    ] = None,
    material_id: Annotated[
        list[str] | None, typer.Option("--material-id", help="An entry, such as mp-149.")
    ] = None,
    ehull: Annotated[
        tuple[float, float] | None,
        typer.Option("--ehull", metavar="MIN MAX", help="Energy above the hull (eV/atom)."),
    ] = None,
    n_atoms: AtomsOption = None,
    experimental: Annotated[
        bool | None,
        typer.Option(
            "--experimental/--predicted", help="Only observed, or only predicted crystals."
        ),
    ] = None,
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Pull crystals from the Materials Project (API key in MP_API_KEY)."""
    query = {
        "type": "mp",
        "formulas": formula or None,
        "chemical_systems": chemsys or None,
        "material_ids": material_id or None,
        "energy_above_hull": ehull,
        "n_atoms": n_atoms,
        "experimental": experimental,
    }
    pull(source_of(query), store, as_json)


@pull_app.command("qm9")
def pull_qm9(
    formula: FormulaOption = None,
    element: Annotated[
        list[str] | None,
        typer.Option("--element", help="Allowed element; repeatable."),
    ] = None,
    n_atoms: AtomsOption = None,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", help="A local copy of the archive, or the folder of qm9pack."),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Alternative URL of the archive.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Expected checksum of the archive.")
    ] = None,
    keep_uncharacterized: Annotated[
        bool,
        typer.Option(
            "--keep-uncharacterized", help="Keep molecules that failed QM9's own consistency check."
        ),
    ] = False,
    uncharacterized: Annotated[
        str | None, typer.Option("--uncharacterized", help="File or URL of their list.")
    ] = None,
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Pull molecules of QM9, from the package qm9pack or its archive, downloaded once."""
    if uncharacterized is not None and "://" not in uncharacterized:
        uncharacterized = str(Path(uncharacterized).expanduser().absolute())
    query = {
        "type": "qm9",
        "formulas": formula or None,
        "elements": element or None,
        "n_atoms": n_atoms,
        "path": str(archive.expanduser().absolute()) if archive else None,
        "url": url,
        "sha256": sha256,
        "keep_uncharacterized": keep_uncharacterized,
        "uncharacterized": uncharacterized,
    }
    pull(source_of(query), store, as_json)


@pull_app.command("optimade")
def pull_optimade(
    query: Annotated[
        str, typer.Option("--filter", help="OPTIMADE filter expression.", show_default=False)
    ],
    provider: Annotated[
        list[str],
        typer.Option(
            "--provider",
            help="alexandria, cod, mp, oqmd, or a base URL; repeatable.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        Literal["molecule", "crystal"], typer.Option(help="Kind of structures.")
    ] = "crystal",
    at_most: Annotated[
        int | None, typer.Option("--max", help="Maximum number of structures per provider.")
    ] = None,
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Pull structures from OPTIMADE providers."""
    settings = {
        "type": "optimade",
        "providers": provider,
        "filter": query,
        "kind": kind,
        "max_structures": at_most,
    }
    pull(source_of(settings), store, as_json)


@pull_app.command("spec")
def pull_spec(
    spec: Annotated[Path, typer.Argument(help="A campaign's spec (YAML).")],
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Pull the training set that a campaign's spec names."""
    from logan_campaign.campaign.spec import CampaignSpec

    training = CampaignSpec.from_file(spec).training
    if training is None:
        raise InputError(f"{spec} names no training set")
    pull(training.source, store, as_json, base=spec.absolute().parent)


@pull_app.command("source")
def pull_source(
    settings: Annotated[
        str,
        typer.Argument(
            metavar="YAML",
            help="A source as in a spec, such as '{type: substitute, to: KBr, of: {type: files, "
            "path: NaCl.cif}}'. Paths are relative to the current directory.",
        ),
    ],
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Pull from any source, those of plugins included."""
    from yaml import YAMLError

    from logan_campaign.campaign.spec_yaml import parse_yaml, with_absolute_paths

    try:
        query = with_absolute_paths(parse_yaml(settings))
    except (YAMLError, RecursionError) as err:
        raise InputError(f"the source is not valid YAML: {settings!r}") from err
    pull(source_of(query), store, as_json)


@data_app.command("import")
def import_set(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or glob patterns.")
    ] = None,
    formula: FormulaOption = None,
    fmt: Annotated[str | None, typer.Option("--format", help="ASE's format name.")] = None,
    reader: Annotated[
        Literal["auto", "ase", "pymatgen"],
        typer.Option(help="Library that reads formats other than CIF and molfile."),
    ] = "auto",
    kind: Annotated[
        Literal["molecule", "crystal"] | None, typer.Option(help="Read all as this kind.")
    ] = None,
    smiles: Annotated[
        list[str] | None, typer.Option("--smiles", help="A SMILES string; repeatable.")
    ] = None,
    smi: Annotated[
        Path | None, typer.Option("--smi", help="A file with one SMILES per line.")
    ] = None,
    builtin: Annotated[
        str | None, typer.Option("--builtin", help="alcohols-and-ethers or sio2-prototypes.")
    ] = None,
    store: DataStoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Import a set from files, from SMILES, or from a built-in list."""
    given = [name for name in (paths, smiles, smi, builtin) if name]
    if len(given) != 1:
        raise InputError("give one of: files, --smiles, --smi, --builtin")
    query: dict[str, Any]
    if paths:
        absolute = [str(Path(text).expanduser().absolute()) for text in paths]
        query = {"type": "files", "path": absolute if len(absolute) > 1 else absolute[0]}
        query |= {"format": fmt, "reader": reader, "kind": kind, "formulas": formula or None}
    elif builtin:
        query = {"type": "builtin", "name": builtin, "formulas": formula or None}
    elif smi:
        query = {"type": "smiles", "path": str(smi.expanduser().absolute())}
    else:
        query = {"type": "smiles", "smiles": smiles}
    pull(source_of(query), store, as_json)


def source_of(query: dict[str, Any]) -> Source:
    """Return a source with the given settings.

    Raises:
        InputError: one line per invalid setting.
    """
    from pydantic import ValidationError

    from logan_campaign.sources import SOURCES

    try:
        return SOURCES.parse(query)
    except ValidationError as err:
        lines = []
        for item in err.errors(include_url=False):
            where = ".".join(str(key) for key in item["loc"])
            text = plain(item["msg"])
            shown = item.get("input")
            unsaid = isinstance(shown, dict | list) or item["type"] == "secret"
            got = "" if unsaid else f" (got {shown!r})"
            lines.append(f"{where}: {text}{got}" if where else text)
        raise InputError("; ".join(lines)) from err


def pull(source: Source, store: str, as_json: bool, base: Path | None = None) -> None:
    """Run the pull job, store its output, and print what has changed.

    The store is opened before the pull to read the previous one, and after it to write everything
    in one transaction: an interrupted pull leaves the store unchanged.
    """
    from jobflow import JobStore

    from logan_campaign.flows import TrainingSetMaker
    from logan_campaign.stores.open import open_store
    from logan_campaign.stores.pulls import PullBuilder, PulledSets

    previous = _previous(source, store)
    maker = TrainingSetMaker(source=source, base=str(base or Path.cwd()), leave_out_unchanged=True)
    job = maker.make(previous)
    try:
        with shown_progress():
            output = run_job(job)
    except KeyboardInterrupt:
        err_console().print(
            "stopped; the store is unchanged, and the same command continues from here"
        )
        raise typer.Exit(130) from None
    with open_store(store, create=True) as stores:
        jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
        with stores.transaction():
            output.write(jobstore)
        PullBuilder.from_stores(stores).build()
        pulled = PulledSets(stores).pulls(source.query_id)[-1]
        place = stores.describe()
    if as_json:
        print_json({**pulled.model_dump(mode="json"), "store": place})
        return
    out = console()
    describe(pulled, out)
    out.print(f"{changes_text(pulled)}; in {place}", soft_wrap=True, markup=False)


class Output:
    """Replaces the JobStore while a job runs and collects the job's output documents."""

    result: Any = None

    def __init__(self) -> None:
        self._updates: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Keep what would be written."""
        self._updates.append((args, kwargs))

    def write(self, store: JobStore) -> None:
        """Write what was kept."""
        for args, kwargs in self._updates:
            store.update(*args, **kwargs)


def run_job(job: Job) -> Output:
    """Run a job without a store; what it writes is collected."""
    output = Output()
    output.result = job.run(output).output
    return output


def _previous(source: Source, store: str) -> Manifest | None:
    from logan_campaign.stores.open import open_store, store_exists
    from logan_campaign.stores.pulls import PullBuilder, PulledSets

    if not store_exists(store):
        return None
    with open_store(store, create=True) as stores:
        PullBuilder.from_stores(stores).build()
        return PulledSets(stores).manifest(source.query_id)


@contextmanager
def shown_progress() -> Iterator[None]:
    """Show reported progress as a bar on standard error, if that is a terminal."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    out = err_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        tasks: dict[str, Any] = {}

        def follow(step: progress.Progress) -> None:
            if step.task not in tasks:
                tasks[step.task] = bar.add_task(step.task, total=step.total)
            bar.update(
                tasks[step.task],
                completed=step.completed,
                total=step.total,
                description=f"{step.task} {step.note}".strip(),
            )

        with progress.listening(follow):
            yield
