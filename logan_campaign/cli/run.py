"""``logan-campaign run``: run a campaign on this machine, from a spec to a database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    NewStoreOption,
    QuietOption,
    TrustOption,
    WorkersOption,
    campaign_maker,
    tell,
)
from logan_campaign.core.errors import InputError
from logan_campaign.core.trust import code_named_in, restricted

if TYPE_CHECKING:
    from logan_campaign.stores.open import CampaignStores


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="The campaign's spec (YAML).")],
    store: NewStoreOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the spec, e.g. models.count=2; "
            "repeatable. Paths are relative to the current directory.",
        ),
    ] = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    trusted: TrustOption = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Read everything, say what will happen, what it will cost by this folder's "
            "campaigns, and what is missing; run nothing.",
        ),
    ] = False,
) -> None:
    """Run a campaign, or continue it where it stopped.

    The same command resumes a campaign after any interruption: finished jobs are not repeated,
    and failed jobs that blocked it are run again.
    """
    if not quiet and sys.stderr.isatty():
        tell(f"reading {spec}")  # what it takes is imported after this, which takes seconds
    maker = campaign_maker(spec, overrides)
    from logan_campaign.cli.local import go_on
    from logan_campaign.flows.local import Ledger
    from logan_campaign.flows.local.ledger import halted_of
    from logan_campaign.stores.found import found_by_others, relaxed_references
    from logan_campaign.stores.known import entries_for
    from logan_campaign.stores.open import open_store

    maker.known_entries = entries_for(maker.spec, Path(maker.base))
    if check:
        from logan_campaign.cli.check import show_check

        show_check(maker, store, workers)
        return
    campaign_id, name = maker.campaign_id, maker.spec.name
    flow = maker.make()  # checks the requirements of the spec before anything is written

    with open_store(store or name, create=True) as stores:
        ledger = Ledger(
            stores.ledger,
            campaign_id,
            {
                "campaign": name,
                "spec_id": maker.spec.id,
                "spec": maker.spec.model_dump(mode="json"),
            },
        )
        if ledger.root() is None:
            maker.others = found_by_others(stores, maker.spec, campaign_id, Path(maker.base))
            maker.relaxed = relaxed_references(stores, maker.spec)
            flow = maker.make() if maker.others or maker.relaxed else flow
        _refuse_another_spec(stores, ledger, name, maker.spec.model_dump(mode="json"))
        root = ledger.root()
        if root is not None and halted_of(root) == "cancelled":
            raise InputError(
                f"campaign '{name}' was cancelled; 'logan-campaign resume' continues it"
            )
        if root is not None:
            ledger.halt("")
        # a spec given on the command line is trusted, and so are the modules it names
        named = code_named_in(maker.spec.model_dump(mode="json"))
        with restricted([*(trusted or []), *named]):
            go_on(stores, ledger, maker.spec, flow, workers=workers, quiet=quiet)


def _refuse_another_spec(stores: CampaignStores, ledger: object, name: str, spec: dict) -> None:
    """Refuse a different spec under the name of a stored campaign."""
    other = stores.ledger.query_one(
        {"doc_type": "flow", "campaign": name, "flow_id": {"$ne": ledger.flow_id}}  # type: ignore[attr-defined]
    )
    if other is None:
        return
    changed = ", ".join(_differences(other["spec"], spec)) or "the contents of its files"
    raise InputError(
        f"{stores.describe()} has a campaign '{name}' with another spec (changed: {changed}); "
        "give this one another name, or another location with --store"
    )


def _differences(old: object, new: object, path: str = "") -> list[str]:
    """Return the dotted keys in which two documents differ, at most five."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            found += _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return found[:5]
    return [] if old == new else [path]
