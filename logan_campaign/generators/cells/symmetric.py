"""Crystals with a space group: equivalent atoms follow from one, on a Wyckoff position."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from logan_campaign.core.errors import InputError
from logan_campaign.descriptors.lattice import translations
from logan_campaign.generators.cells.lattices import STRAINS, product
from logan_campaign.generators.cells.varied import CellShapes, in_reduced_cells
from logan_campaign.generators.target import Target
from logan_campaign.geometry.lattice import reduced_cell
from logan_campaign.geometry.spacegroups import (
    PrimitiveGroup,
    WyckoffPosition,
    assignments,
    group_symbol,
    point_group,
    primitive_group,
    settings_in,
)


class Table(NamedTuple):
    """All ways to make structures with the wanted space groups: one row per way.

    Attributes:
        group: (a,) number of the space group.
        shape: (a,) index of the cell, among ``cells``.
        weight: (a,) probability.
        n_sites: largest number of atoms that are not equivalent.
        site: (a, N) which of them each atom is equivalent to.
        maps: (a, N, 3, 3) and
        shifts: (a, N, 3): fractional coordinates are maps @ site's coordinates + shifts.
        cells: (k, 3, 3) reference cells of volume 1; the reduced cell (Å) if that is fixed.
        projectors: (k, 5, 5) what each cell's group takes of a strain.
    """

    group: np.ndarray
    shape: np.ndarray
    weight: np.ndarray
    n_sites: int
    site: np.ndarray
    maps: np.ndarray
    shifts: np.ndarray
    cells: np.ndarray
    projectors: np.ndarray


def check_symmetry(target: Target) -> None:
    """Find out whether structures with the target's space groups can be made.

    Raises:
        InputError: if the atoms fit on no Wyckoff positions of any of them, or no setting of any
            of them is a symmetry of the fixed cell.
    """
    if target.symmetry is not None:
        symmetry_table(target)


@lru_cache(maxsize=8)
def symmetry_table(target: Target) -> Table:
    """Return the ways to make structures with a target's space groups.

    Space groups that are impossible are left out, if others remain.

    Raises:
        InputError: as :func:`check_symmetry`.
    """
    assert target.symmetry is not None
    kinds, counts = np.unique(target.numbers, return_counts=True)
    lattice = None
    if target.lattice == "fixed":
        lattice = reduced_cell(target.cell_array)
    rows: list[tuple[Any, ...]] = []
    cells: list[np.ndarray] = []
    projectors: list[np.ndarray] = []
    problems: list[str] = []
    for number, weight in target.symmetry.groups:
        group = primitive_group(number)
        ways = assignments(group, counts.tolist(), target.symmetry.max_assignments)
        changes = [np.eye(3)] if lattice is None else settings_in(group, lattice)
        if not ways:
            problems.append(f"{_name(number)}: no Wyckoff positions hold {_atoms(target)}")
            continue
        if not changes:
            problems.append(f"{_name(number)}: the fixed cell has not the symmetry of its lattice")
            continue
        for way in ways:
            for change in changes:
                placed = _placed(target, kinds, group, way, change)
                rows.append((number, len(cells), weight / len(ways) / len(changes), *placed))
        if lattice is None:
            cells.append(group.cell)
            projectors.append(_projector(group))
    if not rows:
        raise InputError(
            f"target.symmetry: {problems[0]}"
            + (
                f"; nor does any other of the {len(problems)} space groups fit"
                if problems[1:]
                else ""
            )
        )
    total = sum(row[2] for row in rows)
    return Table(
        group=np.array([row[0] for row in rows]),
        shape=np.array([row[1] for row in rows]),
        weight=np.array([row[2] / total for row in rows]),
        n_sites=max(int(row[3].max()) + 1 for row in rows),
        site=np.array([row[3] for row in rows]),
        maps=np.array([row[4] for row in rows]),
        shifts=np.array([row[5] for row in rows]),
        cells=np.array(cells) if lattice is None else lattice[None],
        projectors=np.array(projectors),
    )


def _placed(
    target: Target,
    kinds: np.ndarray,
    group: PrimitiveGroup,
    way: tuple[tuple[int, int], ...],
    change: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return site, maps and shifts of every atom, in the target's order."""
    numbers, sites, maps, shifts = [], [], [], []
    for site, (species, index) in enumerate(way):
        position: WyckoffPosition = group.positions[index]
        numbers += [int(kinds[species])] * len(position.shifts)
        sites += [site] * len(position.shifts)
        maps.append(change @ position.maps)
        shifts.append(position.shifts @ change.T)
    order = np.empty(len(numbers), dtype=int)
    order[np.argsort(target.numbers, kind="stable")] = np.argsort(numbers, kind="stable")
    return (
        np.array(sites)[order],
        np.concatenate(maps)[order].astype(np.float32),
        (np.concatenate(shifts)[order] % 1.0).astype(np.float32),
    )


def _projector(group: PrimitiveGroup) -> np.ndarray:
    """Return the average over the point group of what it does to strains, (5, 5)."""
    rotations = point_group(group)
    turned = np.einsum("gij,bjk,glk->gbil", rotations, STRAINS, rotations).mean(axis=0)
    return np.einsum("aij,bij->ab", STRAINS, turned)


def _name(number: int) -> str:
    return f"space group {group_symbol(number)} ({number})"


def _atoms(target: Target) -> str:
    n = len(target.numbers)
    return f"the target's {n} atom{'s' if n > 1 else ''} in a primitive cell"


class SymmetricCrystal:
    """Atoms of an asymmetric unit, expanded by space groups; the cell is any of the three kinds.

    One drawn number says which space group it is, and which atoms are on which Wyckoff
    positions. Outputs are the coordinates of atoms that are not equivalent to each other; some
    of them do not matter on special positions. Positions are in the primitive cell, at the
    standard origin. Cells have the metric of the group's lattice: a strain's average over the
    point group. Where the cell is fixed, the groups stand in all settings whose operations are
    symmetries of its lattice.
    """

    cell: np.ndarray | None = None

    def __init__(self, target: Target) -> None:
        self.table = symmetry_table(target)
        self.n_coordinates = 3 * self.table.n_sites
        self.n_outputs, self.n_drawn = self.n_coordinates, 1
        self.shapes = None
        if target.lattice == "fixed":
            self.exact_cell = target.cell_array
            self.cell = target.cell_array.astype(np.float32)
        else:
            self.shapes = CellShapes(target, self.table.cells, self.table.projectors)
            self.n_outputs += self.shapes.n_numbers if self.shapes.learned else 0
            self.n_drawn += 0 if self.shapes.learned else self.shapes.n_numbers

    def which(self, drawn: jax.Array) -> jax.Array:
        """Return the row of the table (n,) of each structure."""
        bounds = jnp.asarray(np.cumsum(self.table.weight)[:-1], drawn.dtype)
        return jnp.searchsorted(bounds, norm.cdf(drawn[:, 0]), side="right")

    def __call__(self, outputs: jax.Array, drawn: jax.Array) -> tuple[jax.Array, jax.Array]:
        table, rows = self.table, self.which(drawn)
        free = (0.5 + outputs[:, : self.n_coordinates] / 4.0).reshape(-1, table.n_sites, 3)
        own = jnp.take_along_axis(free, jnp.asarray(table.site)[rows][..., None], axis=1)
        maps, shifts = jnp.asarray(table.maps)[rows], jnp.asarray(table.shifts)[rows]
        fractional = shifts + sum(maps[..., k] * own[..., k, None] for k in range(3))
        if self.shapes is None:
            return self._in_fixed_cell(fractional)
        numbers = outputs[:, self.n_coordinates :] if self.shapes.learned else drawn[:, 1:]
        cells = self.shapes(numbers, jnp.asarray(table.shape)[rows])
        return in_reduced_cells(fractional, cells)

    def _in_fixed_cell(self, fractional: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return positions in the given cell from coordinates in the reduced one."""
        change = jnp.asarray(self.table.cells[0] @ np.linalg.inv(self.exact_cell), jnp.float32)
        cell = jnp.asarray(self.exact_cell, jnp.float32)
        return product(product(fractional, change) % 1.0, cell), cell

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array:
        """See :class:`PostProcessing`."""
        return jnp.float32(spread) * jax.random.normal(key, (self.n_outputs,), jnp.float32)

    def initial_outputs(self, key: jax.Array, n: int) -> jax.Array:
        """See :class:`PostProcessing`."""
        first, second = jax.random.split(key)
        free = jax.random.uniform(first, (n, self.n_coordinates), jnp.float32, -2.0, 2.0)
        if self.shapes is None or not self.shapes.learned:
            return free
        return jnp.concatenate([free, self.shapes.random(second, n)], axis=1)

    def translations(self, r_cut: float) -> np.ndarray | None:
        """See :class:`PostProcessing`."""
        if self.shapes is not None:
            return self.shapes.translations(r_cut)
        return translations(self.table.cells[0], r_cut)
