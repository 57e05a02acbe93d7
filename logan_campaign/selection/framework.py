"""Crystals: one representative per net of bonds with known coordination numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from pymatgen.core import Structure

from logan_campaign.core import progress
from logan_campaign.core.documents import Geometry, TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.coordination import CoordinationRanges, count_neighbours, topology
from logan_campaign.geometry.neighbours import BOND_SPREAD, Bonds, crystal_bonds, find_bonds
from logan_campaign.geometry.structures import from_atoms, structure_id
from logan_campaign.geometry.symmetrization import find_operations, symmetrized
from logan_campaign.matching.crystals import CrystalMatcher
from logan_campaign.matching.spec import Tolerance
from logan_campaign.selection.base import Pool, Selection
from logan_campaign.selection.keyed import Judgement, KeyedSelection
from logan_campaign.selection.unusual import usual

#: Structures between two reports of progress.
_REPORT_EVERY = 500


class FrameworkSelection(KeyedSelection):
    """Settings of framework selection.

    Structures whose atoms resemble those of the training set no better than atoms at random places
    are skipped; the others are grouped.
    """

    kinds: ClassVar[tuple[TargetKind, ...]] = ("crystal",)
    needs_training = True

    strategy: Literal["framework"] = "framework"
    accept: Literal["usual", "coordination", "all"] = Field(
        "usual",
        description="'usual': structures whose environments are more like those of the training "
        "set than those of random placements, the most usual ones first; 'coordination': "
        "structures whose coordination numbers the training set holds; 'all': every structure, "
        "where there is no training set",
    )
    chance: float = Field(
        0.015,
        gt=0,
        lt=1,
        description="'usual': share of random placements of the same atoms that may be as usual",
    )
    group_by: Literal["topology", "match"] = Field(
        "topology",
        description="One representative per net topology, or per group of structures that are "
        "equal for StructureMatcher",
    )
    tolerance: Tolerance = Field(
        "default", description="StructureMatcher's tolerances; 'match' only"
    )
    coverage: float = Field(
        1.0,
        gt=0.5,
        le=1,
        description="'coordination': fraction of the training atoms that the ranges must cover",
    )
    bond_factor: float | None = Field(
        None,
        gt=0.8,
        le=2,
        description="Atoms closer than this multiple of the sum of covalent radii are bonded; "
        "null: atoms up to 1.2 times as far apart as neighbours are, without ions of like charge",
    )
    symmetrize: float | None = Field(
        None,
        gt=0,
        lt=1,  # also refuses true
        description="Symmetrize structures within this tolerance (Å); each representative is then "
        "for a net and space group, those with most symmetry operations first, by 'usual' in turn "
        "with the most usual ones; relaxations cannot leave a symmetric saddle point",
    )

    @model_serializer(mode="wrap")
    def _without_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # ids of specs and of job inputs depend on this form
        said: dict[str, Any] = handler(self)
        if said.get("symmetrize", 0) is None:
            del said["symmetrize"]
        return said

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick representatives of nets, symmetrized if requested."""
        if self.symmetrize is None:
            return super().select(pool, seed)
        found: dict[int, Atoms] = {}
        for row in range(len(pool)):
            positions, cell, n_operations = symmetrized(
                pool.numbers,
                pool.positions[row],
                pool.cells[row],
                self.symmetrize,
                pool.fixed_cell,
            )
            if n_operations > 1:
                found[row] = Atoms(pool.numbers, positions, cell=cell, pbc=True)
            if row % _REPORT_EVERY == 0:
                progress.report("symmetrize", row, len(pool))
        selection = super().select(pool.moved(found), seed)
        picks = selection.indices.tolist()
        # cheaply relaxed structures start from their relaxed geometry
        selection.starts = {r: a for r, a in found.items() if r in picks} | selection.starts
        selection.strategies = [
            f"{strategy}, symmetrized" if row in found else strategy
            for row, strategy in zip(picks, selection.strategies, strict=True)
        ]
        return selection

    def check_learning(self, has_training: bool, trains: bool) -> None:
        """Check that there is what structures are compared with. See :class:`SelectionBase`."""
        if self.accept != "all" and not has_training:
            raise InputError(
                f"select: accept '{self.accept}' compares with a training set, which the spec "
                "lacks; set 'accept: all'"
            )

    def learned(self, training: Sequence[Geometry]) -> str:
        """Return the coordination of the training set's atoms."""
        if not training:
            return ""
        return CoordinationRanges.learn(training, self.bond_factor, self.coverage).describe()

    @property
    def lacking(self) -> str:
        """See :class:`KeyedSelection`."""
        if self.accept == "usual":
            return "environments no more usual than at random"
        return "coordination outside the training set's"

    def judge(self, pool: Pool) -> Judgement:
        """Return the net of each structure and the clarity of its bonds."""
        if not pool.training and self.accept != "all":
            raise InputError("select: 'framework' needs the training set to learn from")
        n = len(pool)
        # up to 1.5 times the bonding distance, to find the nearest unbonded atom
        if self.bond_factor is None:
            factor = BOND_SPREAD
            near = crystal_bonds(pool.numbers, pool.positions, pool.cells, 1.5 * factor)
        else:
            factor = self.bond_factor
            near = find_bonds(pool.numbers, pool.positions, pool.cells, 1.5 * factor)
        bonds = near.shorter_than(factor)
        if self.accept == "usual":
            misfit, fits = usual(pool, self.chance, self.symmetrize)
            rank = 1.0 / (1.0 + misfit)
        elif self.accept == "all":
            fits, rank = np.ones(n, dtype=bool), np.zeros(n)
        else:
            ranges = CoordinationRanges.learn(pool.training, self.bond_factor, self.coverage)
            fits = ranges.accepts(pool.numbers, count_neighbours(pool.numbers, bonds, n))
            rank = np.zeros(n)
        keys = np.full(n, "", dtype=object)
        clarity = _clarity(near, factor, n)
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
        if self.symmetrize is not None:
            operations = np.zeros(n)
            for k in rows.tolist():
                crystal = pool.numbers, pool.positions[k], pool.cells[k]
                found = find_operations(*crystal, self.symmetrize, pool.fixed_cell)
                operations[k] = found.n
                if found.n > 1:
                    keys[k] += f" {found.space_group(pool.cells[k])}"
            both = operations + rank, rank
            rank = _alternating(keys, *both) if self.accept == "usual" else both[0]
        return Judgement(keys, np.where(fits, clarity, 0.0), rank)


def _alternating(keys: np.ndarray, *ranks: np.ndarray) -> np.ndarray:
    """Return (n,) a rank whose groups come from the front of several ranks in turn.

    Args:
        keys: (n,) groups; '' for none.
        ranks: (n,) each, larger is first.
    """
    with_key = np.flatnonzero(keys != "")
    orders = [
        dict.fromkeys(keys[with_key[np.lexsort((keys[with_key], -rank[with_key]))]].tolist())
        for rank in ranks
    ]
    turns = itertools.chain.from_iterable(zip(*orders, strict=True))
    place = {key: k for k, key in enumerate(dict.fromkeys(turns))}
    together = -np.array([place.get(key, len(place)) for key in keys.tolist()], dtype=float)
    return together + 0.5 * ranks[-1] / max(1.0, float(ranks[-1].max(initial=0.0)))


def _clarity(near: Bonds, factor: float, n: int) -> np.ndarray:
    """Return (n,) the ratio of the nearest unbonded distance to the longest bond."""
    longest, beyond = np.zeros(n), np.full(n, 1.5 * factor)
    bonded = near.ratio < factor
    np.maximum.at(longest, near.structure[bonded], near.ratio[bonded])
    np.minimum.at(beyond, near.structure[~bonded], near.ratio[~bonded])
    return beyond / np.maximum(longest, 1e-9)
