"""A made-up campaign whose job documents are laid out as jobflow stores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobflow import JobStore
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.core.arrays import pack_arrays
from logan_campaign.core.documents import (
    DATA_KEYS,
    CampaignDoc,
    Candidate,
    ClassificationDoc,
    Document,
    ModelDoc,
    PoolDoc,
    ReferenceDoc,
    ReferenceEnergy,
    RelaxationDoc,
    RelaxationState,
    ScreeningDoc,
    SelectionDoc,
    StructureEntry,
    TrainingHistory,
    TrainingSetDoc,
    Verdict,
)

LEVELS = ["xtb", "gpaw"]


def water(shift: float = 0.0) -> Molecule:
    return Molecule("OHH", [[shift, 0, 0], [shift, 0.76, 0.59], [shift, -0.76, 0.59]])


def crystal(shift: float = 0.0) -> Structure:
    lattice = Lattice.cubic(4 + shift)
    return Structure(lattice, ["Si", "O", "O"], [[0, 0, 0], [0.3, 0.3, 0.3], [0.7, 0.7, 0.7]])


class MadeUpCampaign:
    """Writes the documents of a small campaign, stage by stage.

    Six candidates ``cand-N0`` … ``cand-N5`` (N is the campaign's tag): 0 is rejected before
    any relaxation; 1 and 2 become the same new molecule; 3 becomes a known one; 4 fails at
    the second level; 5 becomes known, too, but is a duplicate of 3.
    """

    smiles: str | None = "O"

    def __init__(self, tag: str = "a", name: str = "demo") -> None:
        self.tag = tag
        self.id = f"camp-{tag}"
        self.name = name
        self.candidates = [f"cand-{tag}{n}" for n in range(6)]

    def structure(self, shift: float = 0.0) -> Any:
        return water(shift)

    def campaign(self) -> list[Document]:
        return [
            CampaignDoc(
                id=self.id,
                name=self.name,
                formula="H2O",
                kind="molecule",
                spec={"name": self.name, "models": {"vary": {}}},
                spec_id=f"spec-{self.tag}",
                seed=1,
                levels=LEVELS,
            )
        ]

    def sets(self) -> list[Document]:
        entries = [
            StructureEntry(id=f"struct-{n}", label=f"O{n}", formula="H2O", structure=water(n))
            for n in range(3)
        ]
        return [
            TrainingSetDoc(
                id=f"set-{role}",
                role=role,  # type: ignore[arg-type]
                name=f"the {role} set",
                query={"kind": "files", "paths": ["a.xyz"]},
                n_structures=len(part),
                formulas={"H2O": len(part)},
                species=["H", "O"],
                structure_ids=[entry.id for entry in part],
                labels=[entry.label for entry in part],
                n_duplicates=1,
                rejected=[],
                structures=part,
            )
            for role, part in (("training", entries[:2]), ("known", entries[2:]))
        ]

    def models(self) -> list[Document]:
        return [
            ModelDoc(
                id=f"model-{self.tag}{n}",
                index=n,
                state="trained",
                reason="",
                training_set_id="set-training",
                algorithm_version=1,
                seed=100 + n,
                formula="H2O",
                hyperparameters={"n_max": 3 + n, "r_cut": 5.0},
                steps=400,
                history=TrainingHistory(
                    step=[200, 400],
                    generator_loss=[1.0, 0.5],
                    critic_loss=[-1.0, -0.25],
                    penalty=[0.1, 0.01],
                    wasserstein=[1.0, 0.75],
                    critic_gradient_norm=[1.0, 1.0],
                    distinct_share=[0.5, 1.0],
                ),
                elapsed_s=10.0,
                device="cpu",
                weights=f"weights of {n}",
            )
            for n in range(2)
        ]

    def pools(self) -> list[Document]:
        return [
            PoolDoc(
                id=f"pool-{self.tag}{n}",
                model_id=f"model-{self.tag}{n}",
                seed=7,
                n_structures=50,
                formula="H2O",
                symbols=["O", "H", "H"],
                kind="molecule",
                elapsed_s=1.0,
                pool=pack_arrays({}),
            )
            for n in range(2)
        ]

    def selection(self) -> list[Document]:
        picks = [
            Candidate(
                id=candidate,
                model_id=f"model-{self.tag}{n % 2}",
                pool_id=f"pool-{self.tag}{n % 2}",
                sample_index=10 * n,
                strategy="kmeans",
                cluster=n,
                represents=5,
                structure=self.structure(n),
            )
            for n, candidate in enumerate(self.candidates)
        ]
        return [
            SelectionDoc(
                campaign_id=self.id,
                strategy="kmeans",
                settings={"n_picks": 6},
                n_generated=100,
                n_unusable={"atoms too close": 4},
                explained_variance=[0.6, 0.2],
                pool_ids=sorted({candidate.pool_id for candidate in picks}),
                candidates=picks,
                map=pack_arrays({}),
            )
        ]

    def screening(self) -> list[Document]:
        passed = self.candidates[1:]
        rejected = Verdict(
            candidate_id=self.candidates[0], state="rejected", reason="not connected"
        )
        return [
            ScreeningDoc(
                campaign_id=self.id,
                before_level="xtb",
                known_set_ids=["set-training", "set-known"],
                verdicts=[rejected, *(Verdict(candidate_id=c, state="pending") for c in passed)],
                structures={c: self.structure() for c in passed},
            )
        ]

    def relaxation(
        self, number: int, level: int, energy: float | None, state: RelaxationState = "converged"
    ) -> RelaxationDoc:
        return RelaxationDoc(
            id=f"relax-{self.tag}{number}-{level}",
            candidate_id=self.candidates[number],
            campaign_id=self.id,
            level=LEVELS[level],
            level_index=level,
            state=state,
            reason="" if state == "converged" else "no self-consistency",
            calculator=LEVELS[level],
            settings={"fmax": 0.05},
            energy_ev=energy,
            energy_per_atom_ev=None if energy is None else energy / 3,
            max_force_ev_per_angstrom=0.01,
            n_steps=12,
            energies_ev=[],
            elapsed_s=2.0,
            structure=self.structure(10 + number),
            trajectory=pack_arrays({}),
        )

    def first_level(self) -> list[Document]:
        return [self.relaxation(n, 0, -10.0 - n) for n in range(1, 6)]

    def compare(self) -> list[Document]:
        verdicts = [
            Verdict(candidate_id=c, state="pending", smiles=self.smiles)
            for c in self.candidates[1:]
        ]
        return [
            ScreeningDoc(
                campaign_id=self.id,
                before_level="gpaw",
                known_set_ids=["set-training", "set-known"],
                verdicts=verdicts,
            )
        ]

    def second_level(self) -> list[Document]:
        energies = {1: -20.0, 2: -20.5, 3: -19.0, 5: -19.5}
        return [
            self.relaxation(n, 1, energies[n])
            if n in energies
            else self.relaxation(n, 1, None, "scf_not_converged")
            for n in range(1, 6)
        ]

    def verdicts(self) -> list[Verdict]:
        known = {"match": "struct-2", "match_label": "O2", "match_set": "set-known"}
        c = self.candidates
        return [
            Verdict(candidate_id=c[1], state="duplicate", match=c[2], smiles="OO"),
            Verdict(candidate_id=c[2], state="new", smiles="OO"),
            Verdict(candidate_id=c[3], state="rediscovered", smiles="O", **known),
            Verdict(candidate_id=c[4], state="failed", reason="no self-consistency"),
            Verdict(candidate_id=c[5], state="duplicate", match=c[3], smiles="O"),
        ]

    def classification(self) -> list[Document]:
        return [
            ClassificationDoc(
                campaign_id=self.id,
                known_set_ids=["set-training", "set-known"],
                verdicts=self.verdicts(),
            )
        ]

    def reference(self) -> list[Document]:
        energy = ReferenceEnergy(
            structure_id="struct-2",
            label="O2",
            set_id="set-known",
            level="gpaw",
            state="converged",
            reason="",
            energy_ev=-19.5,
            energy_per_atom_ev=-6.5,
        )
        return [ReferenceDoc(campaign_id=self.id, references=[energy])]

    def stages(self) -> list[Sequence[Document]]:
        """Return all documents in the order in which a run finishes them."""
        return [
            self.campaign(),
            self.sets(),
            self.models(),
            self.pools(),
            self.selection(),
            self.screening(),
            self.first_level(),
            self.compare(),
            self.second_level(),
            self.classification(),
            self.reference(),
        ]

    def store(self, jobstore: JobStore, upto: int | None = None) -> None:
        """Write the documents of the first ``upto`` stages, as jobs do."""
        number = 0
        for documents in self.stages()[:upto]:
            for document in documents:
                self.put(jobstore, document, f"job-{self.tag}-{number}", 1, number)
                number += 1

    def put(
        self, jobstore: JobStore, output: Any, uuid: str, index: int = 1, minute: int = 0
    ) -> None:
        """Write one job's document."""
        jobstore.update(
            {
                "uuid": uuid,
                "index": index,
                "output": output,
                "completed_at": f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00",
                "metadata": {"campaign_id": self.id, "campaign": self.name},
                "hosts": ["flow"],
                "name": "job",
            },
            key=["uuid", "index"],
            save={"data": DATA_KEYS},
        )


class MadeUpCrystals(MadeUpCampaign):
    """The same with crystals."""

    smiles = None

    def structure(self, shift: float = 0.0) -> Any:
        return crystal(0.1 * shift)

    def verdicts(self) -> list[Verdict]:
        return [
            verdict.model_copy(
                update={"smiles": None, "spacegroup": "Pm-3m", "rms": 0.01, "rms_angstrom": 0.02}
            )
            for verdict in super().verdicts()
        ]


class CrystalsWithHull(MadeUpCrystals):
    """The same with energies of the elements."""

    def reference(self) -> list[Document]:
        elements = {"Si": ("Si2", -10.0), "O": ("O2", -10.0)}
        found = [
            ReferenceEnergy(
                structure_id=f"struct-{symbol}",
                label=symbol,
                set_id="",
                role="element",
                formula=formula,
                level="gpaw",
                state="converged",
                reason="",
                energy_ev=energy,
                energy_per_atom_ev=energy / 2,
            )
            for symbol, (formula, energy) in elements.items()
        ]
        return [
            *super().reference(),
            *(ReferenceDoc(campaign_id=self.id, references=[one]) for one in found),
        ]
