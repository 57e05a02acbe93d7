"""What a person is told about a campaign, and how."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator, model_validator

from logan_campaign.campaign.stability import Hull, HullEntry
from logan_campaign.campaign.target import Section
from logan_campaign.core.documents import Notice, RejudgementDoc, RoundDoc
from logan_campaign.core.redaction import redact

#: Energies above the hull that rounding can cause (eV/atom).
_ROUNDING = 1e-6


class NotifySpec(Section):
    """How to tell a person what a round brought."""

    command: list[str] | None = Field(
        None,
        min_length=1,
        description="Program and its arguments; it gets JSON on its standard input",
    )
    webhook_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable with the URL that JSON is posted to; the URL "
        "itself must not be in a spec",
    )

    @field_validator("command")
    @classmethod
    def _holds_no_secret(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and [redact(word) for word in value] != value:
            raise ValueError("a spec is stored and shown: the command must not contain a secret")
        return value

    @model_validator(mode="after")
    def _some_way(self) -> NotifySpec:
        if self.command is None and self.webhook_env is None:
            raise ValueError("give 'command' or 'webhook_env'")
        return self


def notices(
    judged: RoundDoc,
    hull: Hull | None,
    window_ev_per_atom: float,
    rejudged: RejudgementDoc | None = None,
    problems: Sequence[str] = (),
) -> list[Notice]:
    """Return what a person wants to hear of after a round.

    Args:
        judged: the round.
        hull: of all phases so far; None if there is none, so that everything new is told.
        window_ev_per_atom: largest energy above the hull of new structures that are told.
        rejudged: verdicts on what earlier rounds had called new.
        problems: what else needs a person, such as sources that did not answer.
    """
    told = []
    known = {v.candidate_id for v in rejudged.verdicts} if rejudged is not None else set()
    for found in judged.found:
        if found.state != "new" or found.candidate_id in known:
            continue
        text = f"new: {found.formula} {found.label} ({found.candidate_id})"
        if hull is not None:
            if found.energy_per_atom_ev is None:
                continue
            energy = found.energy_per_atom_ev * hull.n_atoms(found.formula)
            above = hull.above(HullEntry(found.candidate_id, found.formula, energy))
            if above > window_ev_per_atom + _ROUNDING:
                continue
            text += f", {1000 * max(above, 0.0):.1f} meV/atom above the hull"
        told.append(Notice(event="new", text=text))
    told += [
        Notice(event="known", text=f"{v.candidate_id}, called new, equals {v.match_label}")
        for v in (rejudged.verdicts if rejudged is not None else ())
        if v.state == "rediscovered"
    ]
    own = judged.problem or ("" if judged.n_generated else "nothing was generated")
    problems = [*([own] if own else []), *problems]
    told += [Notice(event="attention", text=problem) for problem in problems]
    if judged.decision == "stop":
        text = f"stopped after round {judged.index}: {judged.reason}"
        told.append(Notice(event="stopped", text=text))
    return told
