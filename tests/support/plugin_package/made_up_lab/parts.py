"""One of each kind, as short as it can be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from pydantic import Field

from logan_campaign.campaign.allocation import Policy, Progress
from logan_campaign.core.documents import Manifest, TargetKind
from logan_campaign.relaxation.levels import CalculatorLevel, Setup
from logan_campaign.results.formats import ExportFormat
from logan_campaign.selection import Pool, Selection, SelectionBase
from logan_campaign.sources import LoadedSet, Source
from logan_campaign.sources.base import Collector
from logan_campaign.stores.records import CandidateRecord


class EMTLevel(CalculatorLevel):
    """Effective medium theory."""

    calculator: Literal["emt"] = "emt"
    asap_cutoff: bool = Field(False, description="Cut off as ASAP does")
    scale: float = Field(1.0, gt=0, le=2, description="Unused; there to be wrong about")

    def check(self, species: Iterable[str], kind: TargetKind) -> None:
        """Refuse elements without parameters."""
        super().check(species, kind)
        if unknown := set(species) - {"Cu", "Ag", "Au", "H", "C", "N", "O"}:
            self.refuse(f"EMT has no parameters for {', '.join(sorted(unknown))}")

    def make_calculator(self, atoms: Atoms, setup: Setup) -> Any:
        """Return ASE's EMT."""
        return EMT(asap_cutoff=self.asap_cutoff)


class CopperSource(Source):
    """Copper crystals that are a little distorted."""

    type: Literal["copper"] = "copper"
    count: int = Field(3, ge=1, le=100, description="How many crystals")

    @property
    def title(self) -> str:
        """Short name for people."""
        return f"{self.count} copper crystals"

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Make the crystals."""
        collector = Collector()
        for seed in range(self.count):
            atoms = bulk("Cu", cubic=True)
            atoms.rattle(0.05, seed=seed)
            collector.add(atoms, f"copper {seed}")
        return collector.finish(self.title)


class EveryNth(SelectionBase):
    """Take every nth structure."""

    strategy: Literal["every-nth"] = "every-nth"
    stride: int = Field(2, ge=1, description="Take one of so many")

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick."""
        picks = np.arange(0, len(pool), self.stride)[: self.n_picks]
        labels = np.full(len(pool), -1)
        labels[picks] = np.arange(len(picks))
        return Selection.of("every-nth", picks, labels)


class LastFirst(Policy):
    """The last target of the list first."""

    policy: Literal["last-first"] = "last-first"
    from_place: int = Field(0, ge=0, description="First target that counts")

    def scores(self, progress: Progress) -> list[float]:
        """Return the places of the targets."""
        return [float(max(t, self.from_place)) for t in range(len(progress.formulas))]


class Energies(ExportFormat):
    """One line per candidate: its id and energy."""

    suffixes = (".energies",)

    def piece(self, record: CandidateRecord, raw: bool) -> str:
        """Return a line."""
        return f"{record.id} {record.energy_ev}\n"
