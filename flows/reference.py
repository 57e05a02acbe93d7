"""Energies of known entries, competing phases and elements at equal settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jobflow import Maker, job

from logan_campaign.campaign.stability import element_level, element_structure
from logan_campaign.core.documents import (
    DATA_KEYS,
    Geometry,
    ReferenceDoc,
    ReferenceEnergy,
    StructureEntry,
    TrainingSetDoc,
)
from logan_campaign.flows.judge import known_sets
from logan_campaign.flows.relax import ASECalculatorRelaxMaker, LevelRelaxMaker, XTBRelaxMaker
from logan_campaign.flows.stages import stage
from logan_campaign.geometry.structures import formula, structure_id
from logan_campaign.relaxation.base import Level
from logan_campaign.relaxation.run import relax


@dataclass
class ReferenceMaker(Maker):
    """Relax known entries with the last level's settings.

    Energies of candidates and of known entries can then be compared at equal settings.

    Attributes:
        name: Name of the job.
        maker: The last level's Maker.
        formula: Hill formula of the known entries to relax; '' for none.
        species: Allowed elements of competing phases.
    """

    name: str = "reference energies"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    formula: str = ""
    species: list[str] = field(default_factory=list)

    @job(data=DATA_KEYS, output_schema=ReferenceDoc, metadata=stage("relax", "reference"))
    def make(
        self,
        known: list[TrainingSetDoc],
        campaign_id: str,
        competing: list[TrainingSetDoc] | None = None,
    ) -> ReferenceDoc:
        """Return the energies, one per entry.

        Args:
            known: Sets whose entries of the target's composition are relaxed.
            campaign_id: Campaign.
            competing: Sets of competing phases; entries with other elements are skipped.
        """
        wanted: list[tuple[str, ReferenceRole, StructureEntry]] = [
            (s.id, "known", entry)
            for s in known_sets(known)
            for entry in s.entries
            if entry.formula == self.formula
        ]
        seen = {entry.id for _, _, entry in wanted}
        for s in known_sets(competing or []):
            for entry in s.entries:
                elements = {site.specie.symbol for site in entry.structure}
                if entry.id not in seen and elements <= set(self.species):
                    seen.add(entry.id)
                    wanted.append((s.id, "competing", entry))
        references = [
            _reference(self.maker.level, entry.structure, entry.id, entry.label, set_id, role)
            for set_id, role, entry in wanted
        ]
        return ReferenceDoc(campaign_id=campaign_id, references=references)


@dataclass
class ElementMaker(Maker):
    """Relax an element with the settings of a level, for the convex hull.

    Attributes:
        name: Name of the job.
        maker: The level's Maker.
        symbol: The element.
    """

    name: str = "element"
    maker: LevelRelaxMaker = field(default_factory=ASECalculatorRelaxMaker)
    symbol: str = "Si"

    @job(data=DATA_KEYS, output_schema=ReferenceDoc, metadata=stage("relax", "element"))
    def make(self, campaign_id: str) -> ReferenceDoc:
        """Return the element's energy."""
        structure = element_structure(self.symbol)
        level = element_level(self.maker.level, self.symbol)
        identity = structure_id(structure)
        found = _reference(level, structure, identity, self.symbol, "", "element")
        return ReferenceDoc(campaign_id=campaign_id, references=[found])


ReferenceRole = Literal["known", "competing", "element"]


def _reference(
    level: Level,
    structure: Geometry,
    identity: str,
    label: str,
    set_id: str,
    role: ReferenceRole,
) -> ReferenceEnergy:
    folder = Path(identity)  # one folder per structure, so that a restart finds its files
    folder.mkdir(exist_ok=True)
    outcome = relax(structure, level, workdir=folder)
    # an energy that is not comparable is not stored
    energy = outcome.energy_ev if outcome.comparable else None
    return ReferenceEnergy(
        structure_id=identity,
        label=label,
        set_id=set_id,
        role=role,
        formula=formula(structure),
        level=level.name,
        state=outcome.state,
        reason=outcome.reason,
        energy_ev=energy,
        energy_per_atom_ev=None if energy is None else energy / len(structure),
    )
