"""What a round found for each of its targets, from the documents of its jobs."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from logan_campaign.campaign.rounds import sightings
from logan_campaign.core.documents import (
    ClassificationDoc,
    FoundStructure,
    RelaxationDoc,
    RoundDoc,
    ScreeningDoc,
    SelectionDoc,
    StructureEntry,
    Verdict,
)
from logan_campaign.flows.substitutes import all_relaxed
from logan_campaign.geometry.structures import formula, structure_id
from logan_campaign.selection.estimates import coverage, unseen


class Search(NamedTuple):
    """What a round did for one target."""

    target: int
    n_generated: int
    picks: SelectionDoc | None
    verdicts: dict[str, Verdict]
    relaxed: list[dict[str, RelaxationDoc]]
    found: list[FoundStructure]
    structures: list[StructureEntry]
    cpu_s: float
    problem: str

    @classmethod
    def read(cls, search: dict[str, Any], known_ids: set[str]) -> Self:
        """Return the results in the arguments of the job that judges a round."""
        selection, judges = search["selection"], search["judges"]
        picks = SelectionDoc.model_validate(selection) if selection is not None else None
        verdicts: dict[str, Verdict] = {}
        for doc in (search["screening"], *judges):
            if doc is not None:
                kind = ScreeningDoc if _field(doc, "doc_type") == "screening" else ClassificationDoc
                verdicts.update({v.candidate_id: v for v in kind.model_validate(doc).verdicts})
        relaxed = [_relaxations(level) for level in search["levels"]]
        structures, found = _found(picks, verdicts, relaxed, known_ids)
        spent = [pool["elapsed_s"] for pool in search["pools"]]
        spent += [c.cpu_s for c in (picks.cheap_relaxations if picks is not None else [])]
        spent += [doc.cpu_s for docs in relaxed for doc in docs.values()]
        return cls(
            target=search["target"],
            n_generated=sum(pool["n_structures"] or 0 for pool in search["pools"]),
            picks=picks,
            verdicts=verdicts,
            relaxed=relaxed,
            found=found,
            structures=structures,
            cpu_s=sum(s for s in spent if s is not None),
            problem=_problem(picks, judges),
        )


def _field(document: Any, name: str) -> Any:
    return document[name] if isinstance(document, dict) else getattr(document, name)


def _relaxations(level: dict[str, Any] | None) -> dict[str, RelaxationDoc]:
    """Return the relaxations at a level by candidate; empty if it was never started."""
    if level is None:
        return {}
    ids, documents, _, _ = all_relaxed(level["candidate_ids"], level["relaxations"], level["more"])
    return {name: doc for name, doc in zip(ids, documents, strict=True) if doc is not None}


def _found(
    picks: SelectionDoc | None,
    verdicts: dict[str, Verdict],
    relaxed: list[dict[str, RelaxationDoc]],
    known_ids: set[str],
) -> tuple[list[StructureEntry], list[FoundStructure]]:
    """Return the distinct structures that were in no training set."""
    entries, found = [], []
    for pick in picks.candidates if picks is not None else []:
        verdict, result = verdicts.get(pick.id), relaxed[-1].get(pick.id)
        if verdict is None or result is None:
            continue
        is_known = verdict.state == "rediscovered" and verdict.match_set in known_ids
        if verdict.state != "new" and not is_known:
            continue
        name = formula(result.structure)
        label = verdict.smiles or " ".join(filter(None, (verdict.spacegroup, name)))
        found.append(
            FoundStructure(
                candidate_id=pick.id,
                state="rediscovered" if is_known else "new",
                known_id=verdict.match if is_known else None,
                formula=name,
                label=label,
                energy_per_atom_ev=result.energy_per_atom_ev if result.comparable else None,
            )
        )
        entries.append(
            StructureEntry(
                id=structure_id(result.structure),
                label=pick.id,
                formula=name,
                structure=result.structure,
                smiles=verdict.smiles,
                spacegroup=verdict.spacegroup,
                energy_ev=result.energy_ev if result.comparable else None,
            )
        )
    return entries, found


def sightings_of(
    picks: SelectionDoc | None, verdicts: dict[str, Verdict], heads: set[str]
) -> dict[str, int]:
    """Return the sightings in this round of each structure found so far (``heads``)."""
    again = picks.found_again if picks is not None else {}
    counts = {name: n for name, n in again.items() if name in heads}
    for pick in picks.candidates if picks is not None else []:
        head, seen = pick.id, {pick.id}
        while head not in heads:
            verdict = verdicts.get(head)
            if verdict is None or verdict.state != "duplicate" or verdict.match in (None, *seen):
                break
            head = str(verdict.match)
            seen.add(head)
        if head in heads:
            counts[head] = counts.get(head, 0) + (pick.represents if pick.graph is not None else 1)
    return counts


def with_estimates(document: RoundDoc, past: list[RoundDoc]) -> RoundDoc:
    counts = list(sightings([*past, document]).values())
    if not counts:
        return document
    return document.model_copy(update={"n_unseen": unseen(counts), "coverage": coverage(counts)})


def _problem(picks: SelectionDoc | None, judges: list[Any]) -> str:
    if picks is None:
        return "nothing was picked"
    return "not all levels were judged" if None in judges else ""
