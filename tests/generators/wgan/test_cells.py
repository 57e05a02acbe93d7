"""Cells that are drawn or learned: volumes, shapes, reduction, gradients, images."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pymatgen.core import Lattice

from logan_campaign.core.errors import InputError
from logan_campaign.descriptors.lattice import translations
from logan_campaign.generators.cells import VariedCell, post_processing
from logan_campaign.generators.cells.lattices import MAX_STRAIN, product, reduction, strained
from logan_campaign.generators.target import Symmetry, Target

NUMBERS = (8, 8, 14, 8, 14, 8)
VOLUMES = (8.0, 17.0)

KINDS = ["drawn", "learned"]


@cache
def varied(lattice: Any) -> VariedCell:
    place = post_processing(Target(NUMBERS, None, True, lattice, VOLUMES))
    assert isinstance(place, VariedCell)
    return place


@cache
def program(lattice: Any) -> Any:
    return jax.jit(varied(lattice))


def structures(lattice: str, seed: int = 0, scale: float = 1.0) -> tuple[Any, Any]:
    """Return 100 structures, with cells as extreme as ``scale`` makes them."""
    place = varied(lattice)
    first, second = jax.random.split(jax.random.key(seed))
    outputs = scale * place.initial_outputs(first, 100)
    drawn = scale * jax.random.normal(second, (100, place.n_drawn))
    positions, cells = program(lattice)(outputs, drawn)
    return np.asarray(positions, float), np.asarray(cells, float)


def volumes(cells: np.ndarray) -> np.ndarray:
    return np.linalg.det(cells) / len(NUMBERS)


@pytest.mark.parametrize("lattice", KINDS)
def test_volumes_stay_in_their_range_and_fill_it(lattice: str) -> None:
    found = volumes(np.concatenate([structures(lattice, seed)[1] for seed in range(4)]))
    extreme = volumes(structures(lattice, scale=50.0)[1])
    for each in (found, extreme):
        assert each.min() >= VOLUMES[0] - 1e-3
        assert each.max() <= VOLUMES[1] + 1e-3
    counts, _ = np.histogram(found, bins=3, range=VOLUMES)
    assert counts.min() > 0.25 * 400


@pytest.mark.parametrize("lattice", KINDS)
def test_every_cell_is_niggli_reduced(lattice: str) -> None:
    usual, extreme = structures(lattice)[1], structures(lattice, scale=20.0, seed=1)[1]
    for cell in np.concatenate([usual[:50], extreme[:50]]):
        found, niggli = Lattice(cell), Lattice(cell).get_niggli_reduced_lattice(tol=1e-4)
        np.testing.assert_allclose(found.parameters, niggli.parameters, atol=0.02)


def test_reduction_undoes_any_change_of_basis() -> None:
    rng = np.random.default_rng(0)
    cells = structures("drawn")[1]
    shears = np.array([np.eye(3) + m * np.eye(3, k=k) for k in (1, 2, -1, -2) for m in (-2, 1)])
    cells = shears[rng.integers(len(shears), size=100)] @ cells
    matrices = np.asarray(reduction(jnp.asarray(cells, jnp.float32)))
    np.testing.assert_array_equal(matrices, np.rint(matrices))
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-4)
    for cell, matrix in zip(cells[:50], matrices[:50], strict=True):
        niggli = Lattice(cell).get_niggli_reduced_lattice(tol=1e-4)
        np.testing.assert_allclose(Lattice(matrix @ cell).parameters, niggli.parameters, atol=0.05)


def test_shapes_are_bounded_however_extreme_the_numbers() -> None:
    _, cells = structures("drawn", scale=1e3)
    edge = np.cbrt(np.linalg.det(cells))
    stretch = np.linalg.svd(cells / edge[:, None, None], compute_uv=False)
    # reduction is a change of basis: the shortest vector, and no stretch, has the bound
    assert np.linalg.norm(cells, axis=2).min() >= (edge * np.exp(-MAX_STRAIN / np.sqrt(6))).min()
    assert stretch.min() > 0.3
    assert stretch.max() < 3.0


@pytest.mark.parametrize("lattice", KINDS)
def test_one_table_of_translations_serves_all_cells(lattice: str) -> None:
    place = varied(lattice)
    table = place.translations(4.0)
    assert table is not None
    assert not table[0].any()
    assert len(table) < 80
    held = {tuple(row) for row in table}
    for scale in (1.0, 3.0, 30.0):
        for cell in structures(lattice, seed=3, scale=scale)[1][:30]:
            assert {tuple(row) for row in translations(cell, 4.0)} <= held


@pytest.mark.parametrize("lattice", [pytest.param("drawn", marks=pytest.mark.long), "learned"])
def test_gradients_are_those_of_finite_differences(lattice: str) -> None:
    place = varied(lattice)
    first, second = jax.random.split(jax.random.key(5))
    outputs = place.initial_outputs(first, 1)
    drawn = jax.random.normal(second, (1, place.n_drawn))

    def separation(outputs: jax.Array) -> jax.Array:
        """A smooth function of the crystal: of no choice of cell or origin."""
        positions, cells = place(outputs, drawn)
        offsets = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3)
        shifts = jnp.asarray(offsets, outputs.dtype) @ cells[0]
        pairs = positions[0, :, None, None] - positions[0, None, :, None] + shifts
        return jnp.exp(-0.5 * (pairs**2).sum(axis=-1)).sum()

    gradient = np.asarray(jax.jit(jax.grad(separation))(outputs))[0]
    evaluate, step = jax.jit(separation), 0.02
    for k in (0, 7, *range(3 * len(NUMBERS), place.n_outputs)):
        move = step * np.eye(place.n_outputs)[None, k]
        ends = [float(evaluate(outputs + s * move)) for s in (1, -1)]
        assert gradient[k] == pytest.approx((ends[0] - ends[1]) / 2 / step, rel=0.02, abs=0.01)
    assert np.abs(gradient[3 * len(NUMBERS) :]).max(initial=0.0 if lattice == "learned" else 1.0)


def test_a_drawn_cell_follows_from_what_was_drawn_alone() -> None:
    place = varied("drawn")
    drawn = jax.random.normal(jax.random.key(1), (100, place.n_drawn))
    keys = jax.random.split(jax.random.key(2))
    cells = [program("drawn")(place.initial_outputs(key, 100), drawn)[1] for key in keys]
    np.testing.assert_array_equal(*cells)


def test_strains_keep_the_volume() -> None:
    strains = jnp.asarray(np.random.default_rng(1).uniform(-0.8, 0.8, (50, 5)), jnp.float32)
    cells = strained(jnp.eye(3), strains, jnp.full(50, 60.0))
    np.testing.assert_allclose(np.linalg.det(cells), 60.0, rtol=1e-4)
    # exp(E/2): the metric of a strained cube is exp(E), whose inverse is that of -E
    back = strained(jnp.eye(3), -strains, jnp.full(50, 1.0))
    np.testing.assert_allclose(
        product(strained(jnp.eye(3), strains, jnp.full(50, 1.0)), back),
        np.broadcast_to(np.eye(3), (50, 3, 3)),
        atol=1e-4,
    )


def test_targets_without_a_cell_need_a_range_of_volumes_and_no_box() -> None:
    for volumes in (None, (0.0, 5.0), (9.0, 8.0), (1.0, float("inf"))):
        with pytest.raises(InputError, match="volume per atom"):
            Target(NUMBERS, None, True, "drawn", volumes)
    with pytest.raises(InputError, match="too small"):
        Target(NUMBERS, None, True, "learned", (0.5, 20.0))
    with pytest.raises(InputError, match="molecule"):
        Target(NUMBERS, None, False, "learned", VOLUMES)
    with pytest.raises(InputError, match="cannot be given"):
        Target(NUMBERS, ((9.0, 0, 0), (0, 9.0, 0), (0, 0, 9.0)), True, "drawn", VOLUMES)


def test_a_targets_plain_form_gives_it_back_and_keeps_that_of_fixed_cells() -> None:
    whole = Target(NUMBERS, None, True, "drawn", VOLUMES, Symmetry(((92, 2.0), (1, 1.0)), 7))
    assert Target(**whole.as_dict()) == whole
    box = Target((8,), ((3, 0, 0), (0, 3, 0), (0, 0, 3)), False)
    assert list(box.as_dict()) == ["numbers", "cell", "periodic"]
