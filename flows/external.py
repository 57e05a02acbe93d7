"""Jobs that bring candidates of other generators."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.arrays import pack_arrays
from logan_campaign.core.documents import (
    DATA_KEYS,
    Geometry,
    ModelDoc,
    PoolDoc,
    RoundDoc,
    TrainingHistory,
    TrainingSetDoc,
)
from logan_campaign.core.ids import content_id
from logan_campaign.flows.stages import stage
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.geometry.structures import formula, kind_of

#: Largest difference (Å) between the vectors of a given cell and of a structure brought for it.
_SAME_CELL = 0.01


@dataclass
class BringMaker(Maker):
    """Put structures of another generator into a pool, for selection.

    Attributes:
        name: Name of the job.
        generator: Name of the generator, as the spec says it.
    """

    name: str = "bring"
    generator: str = ""

    @job(data=DATA_KEYS, output_schema=PoolDoc, metadata=stage("generate", "bring"))
    def make(
        self, brought: TrainingSetDoc, target: TargetGeometry, rounds: list[RoundDoc]
    ) -> PoolDoc:
        """Return the pool of the structures that fit a target; it may be empty.

        Args:
            brought: Set of the structures.
            target: Atoms and cell; crystals count as given or by their primitive cell.
            rounds: Earlier rounds: what they picked is left out.
        """
        brought = TrainingSetDoc.model_validate(brought)
        started = time.perf_counter()
        picked = {name for past in rounds for name in RoundDoc.model_validate(past).brought}
        fitting = [
            (entry, placed)
            for entry in sorted(brought.structures, key=lambda entry: entry.id)
            if entry.id not in picked and (placed := fitted(entry.structure, target)) is not None
        ]
        generator = ModelDoc(
            id=content_id("model", ["external", self.generator, brought.id]),
            index=0,
            state="external",
            reason="its structures were made elsewhere",
            training_set_id=None,
            set_id=brought.id,
            algorithm_version=1,
            seed=0,
            formula="",
            hyperparameters={"method": "external", "generator": self.generator},
            steps=0,
            history=TrainingHistory(**{name: [] for name in TrainingHistory.model_fields}),
            elapsed_s=0.0,
            device="",
            weights="",
        )
        positions = [places for _, (places, _) in fitting]
        cells = [cell for _, (_, cell) in fitting]
        ids = [entry.id for entry, _ in fitting]
        return PoolDoc(
            id=content_id("pool", [generator.id, target.hill_formula, ids]),
            model_id=generator.id,
            seed=0,
            n_structures=len(fitting),
            formula=target.hill_formula,
            symbols=target.symbols,
            kind=target.kind,
            elapsed_s=time.perf_counter() - started,
            generator=generator,
            origins=[(entry.label, entry.id) for entry, _ in fitting],
            pool=pack_arrays(
                {
                    "positions": np.reshape(positions, (-1, len(target.symbols), 3)),
                    "cell": np.reshape(cells, (-1, 3, 3)),
                }
            ),
        )


def fitted(structure: Geometry, target: TargetGeometry) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a structure with its atoms in the order of a target's; None if it does not fit.

    Args:
        structure: Molecule or crystal; a crystal counts as given or by its primitive cell.
        target: Atoms, and the cell if that is given.

    Returns:
        Positions (n_atoms, 3) and cell or box (3, 3), in Å.
    """
    if kind_of(structure) != target.kind:
        return None
    if isinstance(structure, Structure) and formula(structure) != target.hill_formula:
        if reduced_formula(formula(structure)) != reduced_formula(target.hill_formula):
            return None
        structure = structure.get_primitive_structure()
    if formula(structure) != target.hill_formula:
        return None
    numbers = [site.specie.Z for site in structure]
    positions = np.empty((len(numbers), 3))
    positions[np.argsort(target.numbers, kind="stable")] = structure.cart_coords[
        np.argsort(numbers, kind="stable")
    ]
    if not isinstance(structure, Structure):
        box = np.array(target.cell)
        return positions - positions.mean(axis=0) + box.sum(axis=0) / 2, box
    cell = structure.lattice.matrix
    if target.lattice == "fixed" and not np.allclose(cell, np.array(target.cell), atol=_SAME_CELL):
        return None
    return positions, cell
