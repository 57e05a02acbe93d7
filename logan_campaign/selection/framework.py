"""Crystals: one representative per bonded network whose coordination is that of known ones."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field
from pymatgen.core import Structure

from logan_campaign.coordination import (
    BOND_FACTOR,
    Bonds,
    CoordinationRanges,
    count_neighbours,
    find_bonds,
    topology,
)
from logan_campaign.errors import InputError
from logan_campaign.matching.crystals import CrystalMatcher
from logan_campaign.matching.spec import Tolerance
from logan_campaign.schemas import TargetKind
from logan_campaign.selection.base import Pool
from logan_campaign.selection.keyed import Judgement, KeyedSelection
from logan_campaign.structures import from_atoms, structure_id


class FrameworkSelection(KeyedSelection):
    """Settings of framework selection.

    Structures in which some atom has more or fewer neighbours than any in the training set are
    left out; the others are grouped.
    """

    kinds: ClassVar[tuple[TargetKind, ...]] = ("crystal",)
    needs_training = True

    strategy: Literal["framework"] = "framework"
    group_by: Literal["topology", "match"] = Field(
        "topology",
        description="One representative per network topology, or per group of structures that "
        "StructureMatcher holds for the same",
    )
    tolerance: Tolerance = Field(
        "default", description="StructureMatcher's tolerances; 'match' only"
    )
    coverage: float = Field(
        1.0,
        gt=0.5,
        le=1,
        description="Share of the training set's atoms that the coordination ranges have to hold",
    )
    bond_factor: float = Field(
        BOND_FACTOR,
        gt=0.8,
        le=2,
        description="Atoms nearer than this many sums of covalent radii are bonded",
    )

    @property
    def lacking(self) -> str:
        """See :class:`KeyedSelection`."""
        return "coordination outside the training set's"

    def judge(self, pool: Pool) -> Judgement:
        """Return the network of each structure, and how clear its bonds are."""
        if not pool.training:
            raise InputError("select: 'framework' needs the training set to learn from")
        ranges = CoordinationRanges.learn(pool.training, self.bond_factor, self.coverage)
        n = len(pool)
        # to 1.5 times as far, for the distance of the nearest atom that is not bonded
        near = find_bonds(pool.numbers, pool.positions, pool.cells, 1.5 * self.bond_factor)
        bonds = near.shorter_than(self.bond_factor)
        fits = ranges.accepts(pool.numbers, count_neighbours(pool.numbers, bonds, n))
        keys = np.full(n, "", dtype=object)
        clarity = _clarity(near, self.bond_factor, n)
        rows = np.flatnonzero(fits)
        if self.group_by == "topology":
            bounds = np.searchsorted(bonds.structure, np.arange(n + 1))
            for row in rows:
                own = slice(bounds[row], bounds[row + 1])
                keys[row] = topology(pool.numbers, Bonds(*(part[own] for part in bonds)))
        elif len(rows):
            structures = [from_atoms(pool.atoms(int(row))) for row in rows]
            crystals = [s for s in structures if isinstance(s, Structure)]
            for members in CrystalMatcher(self.tolerance).group(crystals):
                keys[rows[members]] = structure_id(crystals[members[0]])
        return Judgement(keys, np.where(fits, clarity, 0.0))


def _clarity(near: Bonds, factor: float, n: int) -> np.ndarray:
    """Return (n,) nearest distance beyond the bonds over the longest bond."""
    longest, beyond = np.zeros(n), np.full(n, 1.5 * factor)
    bonded = near.ratio < factor
    np.maximum.at(longest, near.structure[bonded], near.ratio[bonded])
    np.minimum.at(beyond, near.structure[~bonded], near.ratio[~bonded])
    return beyond / np.maximum(longest, 1e-9)
