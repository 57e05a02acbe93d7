"""``logan-campaign extend``: change the stop rules of a campaign, running or stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import (
    JF,
    CampaignArgument,
    JsonOption,
    StoreOption,
    console,
    control_of,
    escape,
    opened,
    print_json,
    table,
)
from logan_campaign.core.errors import InputError

if TYPE_CHECKING:
    from logan_campaign.campaign.rounds import StopSpec
    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.flows.local import Ledger
    from logan_campaign.stores.control import Control
    from logan_campaign.stores.queries import CampaignDatabase
    from logan_campaign.stores.records import CampaignRecord


@app.command()
def extend(
    campaign: CampaignArgument,
    store: StoreOption = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="RULE=VALUE",
            help="Change a rule, e.g. rounds=20 or barren_rounds=null; repeatable.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show or change the stop rules of a campaign of several rounds.

    A running campaign applies the change at the end of its round. A stopped one continues at the
    next 'logan-campaign run' of its spec. No results are lost.
    """
    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.stores.control import Control

    with opened(campaign, store) as (database, record):
        spec = CampaignSpec.model_validate(record.spec)
        if spec.rounds is None:
            raise InputError(
                f"{record.name} is a campaign of one round: for several rounds, start a campaign "
                "whose spec has a section 'rounds'"
            )
        control = Control(database.stores, record.id, record.name)
        rules = rules_in_force(control, spec.rounds.stop)
        if changes:
            rules = _changed(rules, changes)
            held = control.read()
            spec_stop = held.spec_stop if held else spec.rounds.stop.model_dump(mode="json")
            control.write(spec_stop, rules.model_dump(mode="json"))
            if database.stores.describe().startswith(JF):
                _tell_queue(database, record)
    if as_json:
        print_json(rules.model_dump(mode="json"))
        return
    shown = table("rule", "value", "stops")
    for name, field in type(rules).model_fields.items():
        value = getattr(rules, name)
        shown.add_row(name, "-" if value is None else str(value), escape(field.description or ""))
    console().print(shown)


def _tell_queue(database: CampaignDatabase, record: CampaignRecord) -> None:
    """Judge the last round again in the queue, if it has ended the campaign."""
    from logan_campaign.flows.remote.queue import RemoteFlow

    with control_of(database.stores, record.id, record.name) as control:
        assert isinstance(control, RemoteFlow)
        done = control.judge_again()
    if not done.n_jobs:
        raise InputError(done.message)


def _changed(rules: StopSpec, changes: list[str]) -> StopSpec:
    import yaml
    from pydantic import ValidationError

    values: dict[str, Any] = rules.model_dump()
    for text in changes:
        name, equals, value = text.partition("=")
        if not equals or name not in values:
            raise InputError(f"--set takes RULE=VALUE with a rule of {', '.join(values)}: {text!r}")
        values[name] = yaml.safe_load(value)
    try:
        return type(rules).model_validate(values)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        raise InputError(f"--set {first['loc'][0]}: {first['msg']}") from err


def rules_in_force(control: Control, said: StopSpec) -> StopSpec:
    """Return the rules in force: the latest from a spec or from ``extend``.

    Args:
        control: the campaign's control document.
        said: the rules of its spec.
    """
    held = control.read()
    if held is None or held.spec_stop != said.model_dump(mode="json"):
        return said
    return type(said).model_validate(held.stop)


def heed_rules(ledger: Ledger, database: CampaignDatabase, spec: CampaignSpec) -> None:
    """Apply the rules in force to a flow before it runs.

    Rules changed in the spec take effect. A last round that was judged by other rules, or after
    which a refresh has become due, is judged again.
    """
    from logan_campaign.campaign.rounds import EXHAUSTED
    from logan_campaign.flows.data import now
    from logan_campaign.flows.stages import NEXT_ROUND
    from logan_campaign.stores.control import Control

    assert spec.rounds is not None
    said = spec.rounds.stop
    control = Control(database.stores, ledger.flow_id, spec.name)
    rules = rules_in_force(control, said).model_dump(mode="json")
    held = control.read()
    spec_stop = said.model_dump(mode="json")
    # None: the recorded flow may write the rules of an earlier spec
    if held is None or (held.stop, held.spec_stop) != (rules, spec_stop):
        control.write(spec_stop, rules)
    found = [record for record in database.campaigns() if record.id == ledger.flow_id]
    if not found or not (past := found[0].rounds):
        return
    refresh = spec.rounds.refresh if past[-1].reason == EXHAUSTED else None
    if past[-1].stop != rules or (refresh is not None and refresh.is_due(past, now())):
        ledger.repeat_last(NEXT_ROUND)
