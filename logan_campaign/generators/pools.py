"""Generated structures as arrays, and the check that structures suit a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError
from logan_campaign.generators.cells.lattices import covering_translations
from logan_campaign.generators.target import Target
from logan_campaign.geometry.lattice import reduced_cell


class GeneratedPool(NamedTuple):
    """Generated structures of one composition.

    Attributes:
        positions: (n, N, 3) float32 (Å).
        cells: (n, 3, 3) float64 lattice vectors as rows (Å).
    """

    positions: np.ndarray
    cells: np.ndarray


def collect(
    target: Target, n: int, size: int, draw: Callable[[int, int], tuple[ArrayLike, ArrayLike]]
) -> GeneratedPool:
    """Return ``n`` structures, generated in blocks.

    Args:
        target: atoms and cell to generate.
        n: number of structures.
        size: structures per block.
        draw: returns positions (size, N, 3) and cells (size, 3, 3) of a block (Å); called with
            the index of the block and of its first structure.

    Raises:
        InputError: if ``n`` is negative.
    """
    if n < 0:
        raise InputError(f"cannot generate {n} structures")
    positions = np.empty((n, len(target.numbers), 3), dtype=np.float32)
    cells = np.empty((n, 3, 3))
    for block, start in enumerate(range(0, n, size)):
        stop = min(start + size, n)
        p, c = draw(block, start)
        positions[start:stop] = np.asarray(p)[: stop - start]
        cells[start:stop] = np.asarray(c)[: stop - start]
        progress.report("generate", stop, n)
    if target.lattice == "fixed":
        cells[:] = target.cell_array
    return GeneratedPool(positions, cells)


def judge(
    positions: np.ndarray,
    cells: np.ndarray | None,
    size: int,
    score: Callable[[np.ndarray, np.ndarray | None], jax.Array],
) -> np.ndarray:
    """Return the scores (n,) of structures, evaluated in blocks of equal size.

    Args:
        positions: (n, N, 3) (Å).
        cells: (n, 3, 3) (Å), or None.
        size: structures per block.
        score: returns the scores (size,) of a block.
    """
    output = np.empty(len(positions), dtype=np.float32)
    for start in range(0, len(positions), size):
        stop = min(start + size, len(positions))
        rows = np.minimum(np.arange(start, start + size), len(positions) - 1)
        part = score(positions[rows], None if cells is None else cells[rows])
        output[start:stop] = np.asarray(part)[: stop - start]
    return output


def model_arrays(
    target: Target,
    images: np.ndarray | None,
    r_cut: float,
    positions: np.ndarray,
    cells: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Check that structures suit a model, and convert them for its program.

    Args:
        target: the model's target.
        images: lattice translations (n_images, 3) of the program's neighbour search.
        r_cut: cutoff radius (Å).
        positions: (n, N, 3) of the target's atoms (Å).
        cells: (n, 3, 3) or (3, 3) lattice vectors (Å).

    Returns:
        Positions as float32, and reduced cells (n, 3, 3), None for a fixed cell.

    Raises:
        InputError: if the shapes do not fit or crystals have another cell.
    """
    n_atoms = len(target.numbers)
    positions = np.asarray(positions, dtype=np.float32)
    if positions.ndim != 3 or positions.shape[1:] != (n_atoms, 3):
        raise InputError(f"positions of shape {positions.shape} do not fit {n_atoms} atoms")
    if target.lattice != "fixed":
        each = np.broadcast_to(cells, (len(positions), 3, 3))
        return positions, _reduced(images, r_cut, each)
    if target.periodic and not np.allclose(cells, target.cell_array, atol=1e-4):
        raise InputError("the structures' cells are not the cell that the model was trained for")
    return positions, None


def _reduced(images: np.ndarray | None, r_cut: float, cells: np.ndarray) -> np.ndarray:
    """Return the reduced cells, if the translations suffice for them."""
    if not len(cells):
        return cells
    reduced = np.stack([reduced_cell(cell) for cell in cells])
    table = set(map(tuple, ([] if images is None else images)))
    if not {tuple(row) for row in covering_translations(reduced, r_cut)} <= table:
        raise InputError(
            "some cells are smaller or flatter than any that the model was trained for"
        )
    return reduced.astype(np.float32)
