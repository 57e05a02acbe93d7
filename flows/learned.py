"""Sets of structures found by earlier rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobflow import Maker, job

from logan_campaign.core.documents import DATA_KEYS, RoundDoc, StructureEntry, TrainingSetDoc
from logan_campaign.flows.data import now, set_document
from logan_campaign.flows.stages import stage
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.sources import LoadedSet


@dataclass
class LearnedSetMaker(Maker):
    """Collect the structures of earlier rounds, to train on or to compare with.

    Attributes:
        name: Name of the job.
        role: 'training': the training set and the structures found; 'found': only the latter.
        energy_window_ev_per_atom: Largest energy of structures to train on above the lowest of
            their composition (eV/atom).
    """

    name: str = "learned set"
    role: Literal["training", "found"] = "training"
    energy_window_ev_per_atom: float | None = None

    @job(data=DATA_KEYS, output_schema=TrainingSetDoc, metadata=stage("pull"))
    def make(self, base: TrainingSetDoc | None, rounds: list[RoundDoc]) -> TrainingSetDoc:
        """Return the set.

        Args:
            base: The campaign's training set, if it has one.
            rounds: Results of earlier rounds.
        """
        begun = None if base is None else TrainingSetDoc.model_validate(base)
        history = [RoundDoc.model_validate(past) for past in rounds]
        found = self._within([entry for past in history for entry in past.structures])
        if self.role == "found":
            begun = None
        trained = {} if begun is None else {entry.id: entry for entry in begun.structures}
        entries = {**trained, **{entry.id: entry for entry in found}}
        loaded = LoadedSet(list(entries.values()))
        return set_document(
            loaded,
            role=self.role,
            name=("" if begun is None else f"{begun.name} and ") + f"{len(found)} found",
            query={
                "type": "rounds",
                "base": None if begun is None else begun.id,
                "rounds": len(history),
                "candidates": [entry.label for entry in found],
            },
            pulled_at=now(),
        )

    def _within(self, entries: list[StructureEntry]) -> list[StructureEntry]:
        if self.energy_window_ev_per_atom is None:
            return entries
        lowest: dict[str, float] = {}
        for entry in entries:
            energy = _per_atom(entry)
            if energy is not None:
                name = reduced_formula(entry.formula)
                lowest[name] = min(energy, lowest.get(name, energy))
        return [
            entry
            for entry in entries
            if (energy := _per_atom(entry)) is None
            or energy - lowest[reduced_formula(entry.formula)] <= self.energy_window_ev_per_atom
        ]


def _per_atom(entry: StructureEntry) -> float | None:
    return None if entry.energy_ev is None else entry.energy_ev / len(entry.structure)
