"""Descriptors of many structures inside JAX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError
from logan_campaign.descriptors import batch_spectra, power_spectrum, structure_descriptors
from logan_campaign.descriptors.environments import make_descriptor
from logan_campaign.descriptors.lattice import translations

SYSTEMS = ["molecule", "crystal", "large molecule"]


def structures(system: str, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return numbers, positions (n, N, 3) and, for crystals, the cell."""
    rng = np.random.default_rng(11)
    if system == "crystal":
        cell = np.array([[4.3, 0.0, 0.0], [1.9, 3.8, 0.0], [-0.5, 0.8, 4.4]])
        return np.array([8, 14, 8, 8, 14]), rng.random((n, 5, 3)) @ cell, cell
    size = 9 if system == "molecule" else 70
    numbers = rng.permutation(np.resize([1, 6, 8], size))
    return numbers, rng.random((n, size, 3)) * (2.0 * size) ** (1 / 3), None


def settings_of(radial: str = "bessel", cutoff: str = "faithful") -> dict[str, Any]:
    return {"radial": radial, "r_cut": 3.2, "n_max": 2, "n_neighbour": 6, "cutoff": cutoff}


@pytest.mark.parametrize(
    ("system", "radial", "cutoff"),
    [
        ("molecule", "bessel", "faithful"),
        ("crystal", "gaussian", "faithful"),
        ("crystal", "bessel", "smooth"),
        ("large molecule", "gaussian", "smooth"),
    ],
)
def test_batches_agree_with_single_structures(system: str, radial: str, cutoff: str) -> None:
    numbers, positions, cell = structures(system, 3)
    settings = settings_of(radial, cutoff)
    species = sorted(set(numbers.tolist()))
    descriptor = make_descriptor(species, **settings)
    images = None if cell is None else translations(cell, descriptor.r_cut)
    found = batch_spectra(
        descriptor,
        tuple(numbers.tolist()),
        jnp.asarray(positions, jnp.float32),
        None if cell is None else jnp.asarray(cell, jnp.float32),
        images,
    )
    for row, p in zip(found, positions, strict=True):
        atoms = Atoms(numbers, p, cell=cell, pbc=cell is not None)
        expected = power_spectrum(atoms, species=species, **settings)[:, : -len(species)]
        np.testing.assert_allclose(row, expected, atol=3e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("system", "radial", "cutoff"),
    [
        ("molecule", "bessel", "faithful"),
        ("molecule", "gaussian", "smooth"),
        ("crystal", "bessel", "smooth"),
        ("crystal", "gaussian", "faithful"),
    ],
)
def test_gradients_agree_with_finite_differences(system: str, radial: str, cutoff: str) -> None:
    numbers, positions, cell = structures(system, 1)
    descriptor = make_descriptor(sorted(set(numbers.tolist())), **settings_of(radial, cutoff))
    images = None if cell is None else translations(cell, descriptor.r_cut)
    rng = np.random.default_rng(4)
    direction = rng.normal(size=positions.shape)
    with jax.enable_x64(True):
        mix = jnp.asarray(rng.normal(size=(len(numbers), descriptor.n_spectrum)))

        @jax.jit
        def value(p: jax.Array) -> jax.Array:
            arguments = (None, None) if cell is None else (jnp.asarray(cell), images)
            return (batch_spectra(descriptor, tuple(numbers.tolist()), p, *arguments) * mix).sum()

        slope = float((jax.grad(value)(jnp.asarray(positions)) * direction).sum())
        h = 1e-5
        expected = float(value(positions + h * direction) - value(positions - h * direction))
    assert slope == pytest.approx(expected / (2 * h), rel=1e-5)


@pytest.mark.parametrize(("radial", "cutoff"), [("bessel", "faithful"), ("gaussian", "smooth")])
def test_coincident_atoms_give_finite_gradients(radial: str, cutoff: str) -> None:
    descriptor = make_descriptor([1, 8], **settings_of(radial, cutoff))
    positions = jnp.zeros((2, 4, 3)).at[0, 1, 0].set(1.0)

    @jax.jit
    def value(p: jax.Array) -> jax.Array:
        return batch_spectra(descriptor, (8, 1, 1, 8), p).sum()

    found, gradient = jax.jit(jax.value_and_grad(value))(positions)
    assert np.isfinite(found)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("system", SYSTEMS[:2])
def test_structure_descriptors_are_means_over_each_species(system: str) -> None:
    numbers, positions, cell = structures(system, 5)
    species = [1, 6, 8, 14]
    settings = settings_of()
    found = structure_descriptors(
        positions,
        np.eye(3) if cell is None else cell,
        numbers,
        periodic=cell is not None,
        species=species,
        **settings,
    )
    for row, p in zip(found, positions, strict=True):
        atoms = Atoms(numbers, p, cell=cell, pbc=cell is not None)
        spectra = power_spectrum(atoms, species=species, **settings)[:, : -len(species)]
        parts = [
            spectra[numbers == z].mean(axis=0) if z in numbers else 0 * spectra[0] for z in species
        ]
        expected = np.concatenate(parts)
        np.testing.assert_allclose(row, expected, atol=3e-5 * np.abs(expected).max())


def test_each_structure_may_have_its_own_cell() -> None:
    numbers, positions, cell = structures("crystal", 3)
    assert cell is not None
    cells = np.array([cell * scale for scale in (0.9, 1.0, 1.2)])
    settings = settings_of()
    found = structure_descriptors(
        positions, cells, numbers, periodic=True, species=[8, 14], **settings
    )
    for row, p, own in zip(found, positions, cells, strict=True):
        atoms = Atoms(numbers, p, cell=own, pbc=True)
        spectra = power_spectrum(atoms, species=[8, 14], **settings)[:, :-2]
        expected = np.concatenate([spectra[numbers == z].mean(axis=0) for z in (8, 14)])
        np.testing.assert_allclose(row, expected, atol=3e-5 * np.abs(expected).max())


def test_progress_is_reported_and_chunks_do_not_show() -> None:
    numbers, positions, _ = structures("molecule", 300)
    keywords = {"periodic": False, "species": [1, 6, 8], **settings_of()}
    reports: list[progress.Progress] = []
    with progress.listening(reports.append):
        many = structure_descriptors(positions, np.eye(3), numbers, **keywords)
    assert [r.task for r in reports] == ["describe"] * len(reports)
    assert reports[-1].completed == reports[-1].total == 300
    few = structure_descriptors(positions[290:], np.eye(3), numbers, **keywords)
    np.testing.assert_allclose(many[290:], few, atol=1e-5)
    none = structure_descriptors(positions[:0], np.eye(3), numbers, **keywords)
    assert none.shape == (0, many.shape[1])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="do not fit"):
        structure_descriptors(
            np.zeros((2, 3, 3)), np.eye(3), [1, 8], periodic=False, species=[1, 8], **settings_of()
        )
