"""Documents of relaxations and of reference energies."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Document, Geometry, Part

#: Final state of a relaxation.
RelaxationState = Literal[
    "converged",
    "not_converged",
    "scf_not_converged",
    "dissociated",
    "atoms_collided",
    "cell_collapsed",
    "calculator_crashed",
    "out_of_memory",
    "timed_out",
]


class RelaxationFields(Part):
    """Shared fields of documents and records of a relaxation."""

    id: str = Field(description="Content id of candidate, level and settings ('relax-…')")
    level: str = Field(description="Name of the level in the spec")
    level_index: int = Field(description="Index of the level, from 0")
    state: RelaxationState = Field(description="How it ended")
    reason: str = Field(description="What happened and what to do; empty if it converged")
    calculator: str = Field(description="Calculator's name, e.g. 'gpaw'")
    settings: dict[str, Any] = Field(description="All settings of the level")
    energy_ev: float | None = Field(
        description="Final total energy (eV); enthalpy if the settings have a pressure_gpa"
    )
    energy_per_atom_ev: float | None = Field(description="The same per atom (eV)")
    comparable: bool = Field(
        True,
        description="Whether the energy is of the level's settings; false if it needed a remedy "
        "that changes energies (smearing), so that it is not comparable",
    )
    max_force_ev_per_angstrom: float | None = Field(description="Largest final force (eV/Å)")
    n_steps: int = Field(description="Ionic steps done, in all jobs that worked on it")
    elapsed_s: float = Field(description="Wall time (s), of all jobs that worked on it")
    cpu_s: float = Field(0.0, description="Processor time of the last of these jobs (s)")
    attempt: int = Field(1, description="Index among the level's jobs on this candidate, from 1")
    continues: str | None = Field(
        None, description="Relaxation whose budget ended and that this one continues"
    )
    stress_ev_per_angstrom3: list[float] | None = Field(
        None, description="Final stress (eV/Å³; xx yy zz yz xz xy); crystals, where computed"
    )
    data_sets: dict[str, str] = Field(
        default_factory=dict, description="PAW data set of each element: name and md5; GPAW only"
    )


class RelaxationDoc(RelaxationFields, Document):
    """One relaxation of one candidate at one level."""

    doc_type: Literal["relaxation"] = "relaxation"
    candidate_id: str = Field(description="Candidate")
    campaign_id: str = Field(description="Campaign")
    energies_ev: list[float] = Field(description="Energy or enthalpy after each step (eV)")
    structure: Geometry = Field(description="Final structure; the start if nothing was computed")
    smiles: str | None = Field(
        None, description="Canonical SMILES of the final molecule without stereochemistry, if any"
    )
    spacegroup: str | None = Field(None, description="Space-group symbol of the final crystal")
    trajectory: Blob[str | None] = Field(
        description="Packed arrays (blob): numbers (n_atoms,), positions (n, n_atoms, 3) Å, cell "
        "(n, 3, 3) Å, energy (n,) eV, forces (n, n_atoms, 3) eV/Å; where the cell was relaxed "
        "stress (n, 6) eV/Å³"
    )


class RelaxationsDoc(Document):
    """Relaxations of several candidates at one level by one job."""

    doc_type: Literal["relaxations"] = "relaxations"
    relaxations: list[RelaxationDoc] = Field(description="One per candidate, in order")


class ReferenceEnergy(Part):
    """Energy of a known phase at the settings of the candidates."""

    structure_id: str = Field(description="Known entry")
    label: str = Field(description="Its label")
    set_id: str = Field(description="Set that contains it; empty for elements")
    role: Literal["known", "competing", "element", "published"] = Field(
        "known",
        description="Known entry of the target's composition, only for the convex hull, or an "
        "energy that was not computed here, of another hull",
    )
    formula: str = Field("", description="Hill formula of the cell")
    level: str = Field(description="Level that computed it")
    state: RelaxationState = Field(description="How its relaxation ended")
    reason: str = Field(description="What happened; empty if it converged")
    energy_ev: float | None = Field(description="Total energy, under pressure enthalpy (eV)")
    energy_per_atom_ev: float | None = Field(description="The same per atom (eV)")
    relaxation_id: str = Field("", description="Content id of structure and settings ('relax-…')")


class ReferenceDoc(Document):
    """Known entries, competing phases or elements, relaxed at the last level."""

    doc_type: Literal["reference"] = "reference"
    campaign_id: str = Field(description="Campaign")
    references: list[ReferenceEnergy] = Field(description="One per known entry, in order")
