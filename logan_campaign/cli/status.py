"""``logan-campaign status``: progress, models, candidates and discoveries of a campaign."""

from __future__ import annotations

from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from logan_campaign.cli.common import escape, number, table
from logan_campaign.flows.control import FlowControl
from logan_campaign.flows.local import FlowStatus
from logan_campaign.matching.spec import Tolerance
from logan_campaign.stores.queries import CampaignDatabase
from logan_campaign.stores.records import (
    CampaignRecord,
    HullRecord,
    pairs_text,
    targets_of,
    without_known,
    without_pairs,
)

#: Sets, models, selections and rounds that are shown: the last ones.
_ROWS = 20
#: Characters of a model's id in a table, enough to tell it from others.
_SHORT_ID = 14


def campaign_status(
    database: CampaignDatabase, record: CampaignRecord, control: FlowControl
) -> dict[str, Any]:
    """Return everything that ``status`` shows as one JSON document."""
    flow = control.status()
    return {
        "id": record.id,
        "name": record.name,
        "formula": record.formula,
        "kind": record.kind,
        "store": database.stores.describe(),
        **run_progress(flow),
        "training_sets": _sets(database, record),
        "models": _models(database, record),
        "selections": [
            s.model_dump(
                mode="json",
                include={
                    "strategy",
                    "n_generated",
                    "n_unusable",
                    "n_candidates",
                    "cheap_relaxations",
                    "learned",
                },
            )
            for s in record.selections
        ],
        "notifications": [told.model_dump(mode="json") for told in record.notifications],
        "rounds": [past.model_dump(mode="json") for past in record.rounds],
        "candidates": database.counts(record.id),
        "n_trained_on_target": _trained_on_target(database, record),
        "without_known": without_known(record, database.training_sets(record.id)),
        "unseen_pairs": without_pairs(record, database.training_sets(record.id)),
        "known": _known(database, record),
        "leakage": _leakage(record),
        "reference": _reference(database, record),
        "hull": _hull(record.hull),
        "published_hull": _hull(record.published_hull),
    }


def run_progress(flow: FlowStatus) -> dict[str, Any]:
    """Return the progress of a run as JSON values."""
    return {
        "state": _state(flow),
        "pid": flow.pid,
        "runner": flow.runner,
        "cpu_s": flow.elapsed_s,
        "stages": flow.by_stage,
        "running": [
            {"name": job.name, **(job.progress._asdict() if job.progress else {})}
            for job in flow.running
        ],
        "waiting": [{"reason": reason, "n": n} for reason, n in flow.waiting],
        "failures": [{"name": f.name, "error": f.error} for f in flow.failures],
    }


def _state(flow: FlowStatus) -> str:
    """Return 'running', 'stopped' (can be resumed), 'paused', 'cancelled', 'finished', or
    'incomplete': jobs were skipped because jobs that they depend on failed."""
    if flow.halted == "cancelled":
        return flow.halted
    if not flow.finished:
        return flow.halted or ("running" if flow.runner else "stopped")
    return "incomplete" if flow.counts.get("cancelled") else "finished"


def _sets(database: CampaignDatabase, record: CampaignRecord) -> list[dict[str, Any]]:
    wanted = {"id", "name", "n_structures", "formulas", "n_duplicates"}
    return [
        {
            **s.model_dump(include=wanted),
            "role": next(u.role for u in s.uses if u.campaign_id == record.id),
            "n_rejected": len(s.rejected),
        }
        for s in database.training_sets(record.id)
    ]


def _models(database: CampaignDatabase, record: CampaignRecord) -> list[dict[str, Any]]:
    found = []
    for model in database.models(record.id):
        history = model.history
        last = {
            name: values[-1] if values else None
            for name, values in (
                ("wasserstein", history.wasserstein),
                ("critic_gradient_norm", history.critic_gradient_norm),
                ("distinct_share", history.distinct_share),
            )
        }
        found.append(
            {
                **model.model_dump(
                    include={"id", "index", "state", "reason", "steps", "elapsed_s"}
                ),
                **last,
                "varied": {k: model.hyperparameters.get(k) for k in record.spec["models"]["vary"]},
            }
        )
    return found


def _known(database: CampaignDatabase, record: CampaignRecord) -> list[dict[str, Any]]:
    """Return, per known set, how many of its entries of the targets' compositions were found."""
    found, sought = [], targets_of(record)
    candidates = list(database.candidates(record.id, state="rediscovered", structures=False))
    for known in database.training_sets(record.id):
        n_entries = known.count_of(sought, record.kind)
        if known.id not in record.known_set_ids or not n_entries:
            continue
        hits = [c for c in candidates if c.match_set == known.id]
        found.append(
            {
                "set": known.name,
                "id": known.id,
                "n_entries": n_entries,
                "n_found": len({c.match for c in hits}),
                "found": sorted({c.smiles or c.match_label or str(c.match) for c in hits}),
            }
        )
    return found


def _leakage(record: CampaignRecord) -> dict[str, Any] | None:
    """Return the known entries that match a training entry; None if nothing was compared."""
    if record.leakage is None:
        return None
    leaks = [leak.model_dump() for leak in record.leakage]
    return {
        "n_targets": len(leaks),
        **{
            f"n_{tolerance}": sum(
                any(match["tolerance"] == tolerance for match in leak["matches"]) for leak in leaks
            )
            for tolerance in get_args(Tolerance)
        },
        "targets": leaks,
    }


def unlearned(database: CampaignDatabase, campaign_id: str) -> str:
    """Return the warning of pairs that no training structure has side by side; may be empty."""
    found = (record for record in database.campaigns() if record.id == campaign_id)
    record = next(found, None)
    if record is None:
        return ""
    return pairs_text(without_pairs(record, database.training_sets(record.id)), record.kind)


def so_far(database: CampaignDatabase, campaign_id: str) -> str:
    """Return what a running campaign has found as one short text; '' before any relaxation."""
    counts = database.counts(campaign_id)
    found = counts["new"] + counts["rediscovered"]
    parts = [f"found {found} ({counts['new']} new)"] if found else []
    best = next(database.candidates(campaign_id, sort="best", limit=1, structures=False), None)
    if best is not None and best.energy_ev is not None:
        parts.append(f"best {best.energy_ev:.3f} eV at {best.level}")
    return ", ".join(parts)


def _trained_on_target(database: CampaignDatabase, record: CampaignRecord) -> int:
    """Return the number of training structures with the target composition.

    Rediscovering one of them says nothing about what the models can find.
    """
    sought = targets_of(record)
    return sum(
        n
        for s in database.training_sets(record.id)
        if s.id in record.training_set_ids and s.query.get("type") != "rounds"
        for name, n in s.formulas.items()
        if name in sought
    )


def _reference(database: CampaignDatabase, record: CampaignRecord) -> dict[str, Any] | None:
    """Return the lowest energies of candidates and known entries at equal settings."""
    known = [
        r
        for r in record.references
        if r.energy_per_atom_ev is not None and r.state == "converged" and r.role == "known"
    ]
    if not known:
        return None
    relaxed = [
        c
        for c in database.candidates(record.id, level=record.levels[-1], structures=False)
        if c.energy_above_min_ev is not None and c.state not in ("failed", "rejected")
    ]
    if not relaxed:
        return None
    best = min(relaxed, key=lambda c: c.energy_per_atom_ev or 0.0)
    lowest = min(known, key=lambda r: r.energy_per_atom_ev or 0.0)
    assert best.energy_per_atom_ev is not None  # it has an energy above the lowest
    assert lowest.energy_per_atom_ev is not None
    return {
        "candidate": best.id,
        "candidate_state": best.state,
        "candidate_energy_per_atom_ev": best.energy_per_atom_ev,
        "known": lowest.label,
        "known_energy_per_atom_ev": lowest.energy_per_atom_ev,
        "level": lowest.level,
        "difference_mev_per_atom": 1000 * (best.energy_per_atom_ev - lowest.energy_per_atom_ev),
    }


def _hull(hull: HullRecord | None) -> dict[str, Any] | None:
    """Return the phases on a hull, and how many structures are stable, unique and new."""
    if hull is None:
        return None
    return {
        **hull.model_dump(mode="json", exclude={"phases"}),
        "phases": [phase.model_dump(mode="json") for phase in hull.at()],
    }


def _hull_text(hull: dict[str, Any]) -> str:
    named = ", ".join(f"{p['formula']} ({p['label']})" for p in hull["phases"])
    pressure = f" and {hull['pressure_gpa']:g} GPa" if hull["pressure_gpa"] else ""
    within = hull["window_ev_per_atom"]
    stable = f"within {1000 * within:g} meV/atom of it" if within else "on it"
    return (
        f"hull at {hull['level']}{pressure}: {named}; of {hull['n_unique']} distinct structures "
        f"{hull['n_stable']} are {stable}, {hull['n_new']} new, {hull['n_stable_new']} both"
    )


def show_status(found: dict[str, Any], out: Console, brief: bool = False) -> None:
    """Print a status; ``brief`` omits what a finished run has just shown."""
    out.print(
        f"[bold]{found['name']}[/] ({found['formula']}, {found['kind']}) is "
        f"[bold]{found['state']}[/] in {escape(found['store'])}"
    )
    if not brief:
        out.print(_stages(found))
        for job in found["running"]:
            share = f"{job['completed']}/{job['total']}" if job.get("total") else ""
            now = " ".join(filter(None, (job["name"], share, job.get("note", ""))))
            out.print(f"  now: {escape(now)}")
        for job in found["waiting"]:
            what = f"{job['n']} in the scheduler's queue: {job['reason']}"
            out.print(f"  [yellow]waiting:[/] {escape(what)}", soft_wrap=True)
    for failure in [] if brief else found["failures"]:
        what = escape(f"{failure['name']}: {failure['error']}")
        out.print(f"  [red]failed:[/] {what}", soft_wrap=True)
    if not brief:
        for s in _last(found["training_sets"], "sets", out):
            out.print(
                f"{s['role']} set [bold]{escape(s['name'])}[/]: {s['n_structures']} structures "
                f"({', '.join(s['formulas'])}), {s['n_duplicates']} copies and "
                f"{s['n_rejected']} unusable left out"
            )
        trained = [m for m in found["models"] if m["state"] in ("trained", "failed")]
        if trained:
            out.print(_model_table(_last(trained, "models", out)))
    for selection in _last(found["selections"], "selections", out):
        lost = ", ".join(f"{n} {why}" for why, n in selection["n_unusable"].items())
        out.print(
            f"generated {selection['n_generated']}"
            + (f" ({lost})" if lost else "")
            + f", picked {selection['n_candidates']} by {selection['strategy']}",
            soft_wrap=True,
        )
        if selection["learned"]:
            out.print(f"  coordination in the training set: {selection['learned']}")
        for done in selection["cheap_relaxations"]:
            out.print(
                f"  relaxed {done['n']} at the cheap level {escape(done['level'])} to rank them "
                f"({done['n_converged']} converged, {done['cpu_s']:.0f} s of processor time)"
            )
    if found["rounds"]:
        _last(found["rounds"], "rounds", out)
        out.print(_round_table(found["rounds"]))
        last = found["rounds"][-1]
        if last["decision"] == "stop":
            out.print(f"stopped after round {last['index']}: {escape(last['reason'])}")
    for told in found["notifications"][-_ROWS:]:
        for way, why in told["sent"].items():
            if why:
                said = f"the {way} did not tell of round {told['round']}: {why}"
                out.print(f"[yellow]warning:[/] {escape(said)}", soft_wrap=True)
    counts = ", ".join(f"{n} {state}" for state, n in found["candidates"].items() if n)
    out.print(f"candidates: {counts or 'none yet'}")
    if found["n_trained_on_target"]:
        out.print(
            f"note: {found['n_trained_on_target']} of the training structures have the "
            f"composition {found['formula']} themselves"
        )
    for sought in found["without_known"]:
        out.print(
            f"[yellow]warning:[/] there is no known entry of {sought} to compare with, so every "
            "structure of this composition counts as new",
            soft_wrap=True,
        )
    if said := pairs_text(found["unseen_pairs"], found["kind"]):
        out.print(f"[yellow]warning:[/] {escape(said)}", soft_wrap=True)
    for known in found["known"]:
        out.print(
            f"found {known['n_found']} of {known['n_entries']} in {escape(known['set'])}"
            + (f": {escape(', '.join(known['found']))}" if known["found"] else ""),
            soft_wrap=True,
        )
    if found["leakage"] is not None:
        out.print(_leakage_text(found["leakage"]), soft_wrap=True, markup=False)
    if found["hull"]:
        out.print(_hull_text(found["hull"]), soft_wrap=True, markup=False)
    if found["published_hull"]:
        named = (p["formula"] + " " + p["label"] for p in found["published_hull"]["phases"])
        about = f"hull of {found['published_hull']['level']}, not mixed with it"
        out.print(f"{about}: {', '.join(named)}", soft_wrap=True, markup=False)
    if found["reference"]:
        r = found["reference"]
        out.print(
            f"lowest energy at {r['level']}: {r['candidate_energy_per_atom_ev']:.4f} eV/atom "
            f"({r['candidate']}, {r['candidate_state']}), {r['difference_mev_per_atom']:+.1f} "
            f"meV/atom against the known {escape(r['known'])}",
            soft_wrap=True,
        )


def _last(found: list[Any], what: str, out: Console) -> list[Any]:
    """Return the last rows of a table, and say how many are left out."""
    if len(found) > _ROWS:
        out.print(f"{len(found) - _ROWS} earlier {what}: see --json")
    return found[-_ROWS:]


def _leakage_text(found: dict[str, Any]) -> str:
    counts = f"{found['n_default']} of {found['n_targets']}"
    text = f"leakage: {counts} known entries equal a training entry at default tolerances"
    if found["n_default"] or found["n_loose"]:
        text += f" ({found['n_strict']} at strict, {found['n_loose']} at loose ones)"
    leaked = [
        f"{leak['target']} = {leak['matches'][0]['entry']}"
        for leak in found["targets"]
        if leak["matches"] and leak["matches"][0]["tolerance"] != "loose"
    ]
    more = f" and {len(leaked) - 5} more" if leaked[5:] else ""
    return text + (f": {', '.join(leaked[:5])}{more}" if leaked else "")


def _round_table(rounds: list[dict[str, Any]]) -> Table:
    numbers = ("generated", "picked", "relaxed", "found", "so far", "unseen", "covered", "CPU h")
    shown = table("round", "looks for", *numbers, right=("round", *numbers), no_wrap=numbers)
    so_far = 0
    for past in rounds:
        so_far += len(past["found"])
        if past["index"] < len(rounds) - _ROWS:
            continue
        shown.add_row(
            str(past["index"]),
            past["formula"],
            str(past["n_generated"]),
            str(past["n_picked"]),
            str(past["n_last_level"]),
            str(len(past["found"])),
            str(so_far),
            number(past["n_unseen"], 1),
            "-" if past["coverage"] is None else f"{past['coverage']:.0%}",
            f"{past['cpu_s'] / 3600:.2f}",
        )
    return shown


def _stages(found: dict[str, Any]) -> Table:
    states = (
        *("completed", "running", "ready", "waiting", "paused"),
        *("failed", "cancelled", "stopped"),
    )
    present = [s for s in states if any(s in counts for counts in found["stages"].values())]
    shown = table("stage", *present, right=present)
    for name, counts in found["stages"].items():
        shown.add_row(name, *(str(counts.get(state, "")) for state in present))
    return shown


def _model_table(models: list[dict[str, Any]]) -> Table:
    # methods without networks have no steps and no losses
    told = {"Wasserstein": "wasserstein", "gradient": "critic_gradient_norm"}
    told |= {"distinct": "distinct_share"}
    told = {name: key for name, key in told.items() if any(m[key] is not None for m in models)}
    numbers = ("steps", *told, "time") if any(m["steps"] for m in models) else (*told, "time")
    varied = ["varied"] if any(model["varied"] for model in models) else []
    shown = table("model", "state", *varied, *numbers, right=numbers, no_wrap=("model", *numbers))
    for model in models:
        texts = {name: number(model[key], 2) for name, key in told.items()}
        texts |= {"steps": str(model["steps"] or "-"), "time": f"{model['elapsed_s']:.0f} s"}
        shown.add_row(
            model["id"][:_SHORT_ID],
            escape(model["state"] + (f": {model['reason']}" if model["reason"] else "")),
            *[escape(", ".join(f"{k}={v}" for k, v in model["varied"].items())) for _ in varied],
            *(texts[name] for name in numbers),
        )
    return shown
