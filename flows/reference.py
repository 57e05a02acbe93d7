"""Energies of known entries, competing phases and elements at equal settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jobflow import Maker, job

from logan_campaign.campaign.stability import (
    HullEntry,
    element_level,
    element_structure,
    hull_of,
    reachable,
)
from logan_campaign.core.documents import (
    DATA_KEYS,
    Geometry,
    ReferenceDoc,
    ReferenceEnergy,
    StructureEntry,
    TrainingSetDoc,
)
from logan_campaign.core.errors import InputError
from logan_campaign.flows.judge import known_sets
from logan_campaign.flows.relax import ASECalculatorRelaxMaker, LevelRelaxMaker, XTBRelaxMaker
from logan_campaign.flows.stages import stage
from logan_campaign.geometry.structures import formula, structure_id
from logan_campaign.relaxation.base import Level
from logan_campaign.relaxation.run import relax, relaxation_key


@dataclass
class ReferenceMaker(Maker):
    """Relax known entries with the last level's settings.

    Energies of candidates and of known entries can then be compared at equal settings.

    Attributes:
        name: Name of the job.
        maker: The last level's Maker.
        formula: Hill formula of the known entries to relax; '' for none.
        species: Allowed elements of competing phases.
        done: Energies that the store holds already, which are not computed again.
    """

    name: str = "reference energies"
    maker: LevelRelaxMaker = field(default_factory=XTBRelaxMaker)
    formula: str = ""
    species: list[str] = field(default_factory=list)
    done: list[ReferenceEnergy] = field(default_factory=list)

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
            _reference(
                self.maker.level, entry.structure, entry.id, entry.label, set_id, role, self.done
            )
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
        done: Energies that the store holds already, which are not computed again.
    """

    name: str = "element"
    maker: LevelRelaxMaker = field(default_factory=ASECalculatorRelaxMaker)
    symbol: str = "Si"
    done: list[ReferenceEnergy] = field(default_factory=list)

    @job(data=DATA_KEYS, output_schema=ReferenceDoc, metadata=stage("relax", "element"))
    def make(self, campaign_id: str) -> ReferenceDoc:
        """Return the element's energy."""
        structure = element_structure(self.symbol)
        level = element_level(self.maker.level, self.symbol)
        identity = structure_id(structure)
        found = _reference(level, structure, identity, self.symbol, "", "element", self.done)
        return ReferenceDoc(campaign_id=campaign_id, references=[found])


@dataclass
class PublishedHullMaker(Maker):
    """Keep the phases on the hull of published energies.

    Attributes:
        name: Name of the job.
        species: Elements of the campaign; entries with others are skipped.
    """

    name: str = "published hull"
    species: list[str] = field(default_factory=list)

    @job(data=DATA_KEYS, output_schema=ReferenceDoc, metadata=stage("default", "reference"))
    def make(self, published: TrainingSetDoc, campaign_id: str) -> ReferenceDoc:
        """Return the phases on the hull.

        Raises:
            InputError: an element of the campaign has no entry with an energy.
        """
        [held] = known_sets([published])
        origin = published.origin.name if published.origin is not None else published.name
        entries = {
            entry.id: entry
            for entry in held.entries
            if entry.energy_ev is not None
            and {site.specie.symbol for site in entry.structure} <= set(self.species)
        }
        found = reachable(
            HullEntry(entry.id, entry.formula, entry.energy_ev or 0.0) for entry in entries.values()
        )
        hull = hull_of(found)
        missing = set(self.species) - {entry.formula.strip("0123456789") for entry in found}
        if hull is None or missing:
            raise InputError(f"relax.hull.published: no energy of {', '.join(sorted(missing))}")
        references = [
            ReferenceEnergy(
                structure_id=phase.id,
                label=entries[phase.id].label,
                set_id=published.id,
                role="published",
                formula=phase.formula,
                level=origin,
                state="converged",
                reason="",
                energy_ev=phase.energy_ev,
                energy_per_atom_ev=phase.energy_ev / len(entries[phase.id].structure),
            )
            for phase in hull.stable
        ]
        return ReferenceDoc(campaign_id=campaign_id, references=references)


ReferenceRole = Literal["known", "competing", "element"]


def _reference(
    level: Level,
    structure: Geometry,
    identity: str,
    label: str,
    set_id: str,
    role: ReferenceRole,
    done: list[ReferenceEnergy],
) -> ReferenceEnergy:
    key = relaxation_key(structure, level)
    about = {"label": label, "set_id": set_id, "role": role}
    for known in map(ReferenceEnergy.model_validate, done):
        if known.relaxation_id == key:
            return known.model_copy(update=about)
    folder = Path(identity)  # one folder per structure, so that a restart finds its files
    folder.mkdir(exist_ok=True)
    outcome = relax(structure, level, workdir=folder)
    # an energy that is not comparable is not stored
    energy = outcome.energy_ev if outcome.comparable else None
    return ReferenceEnergy(
        structure_id=identity,
        **about,
        formula=formula(structure),
        level=level.name,
        state=outcome.state,
        reason=outcome.reason,
        energy_ev=energy,
        energy_per_atom_ev=None if energy is None else energy / len(structure),
        relaxation_id=key,
    )


def phases_of(phases: list[ReferenceDoc | None]) -> list[HullEntry]:
    """Return the phases that converged; those of jobs that died are missing."""
    documents = [ReferenceDoc.model_validate(doc) for doc in phases if doc is not None]
    return [
        HullEntry(one.structure_id, one.formula, one.energy_ev)
        for doc in documents
        for one in doc.references
        if one.state == "converged" and one.energy_ev is not None
    ]
