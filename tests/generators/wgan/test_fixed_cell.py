"""Post-processing that leaves the target's cell as it is."""

import jax
import jax.numpy as jnp
import numpy as np
from systems import TARGET, crystal_target

from logan_campaign.generators.cells import FixedCell, post_processing


def fractional(target: object, outputs: jax.Array) -> np.ndarray:
    place = post_processing(target)  # type: ignore[arg-type]
    positions, cell = place(outputs, jnp.zeros((len(outputs), place.n_drawn)))
    return np.asarray(positions) @ np.linalg.inv(np.asarray(cell))


def test_random_outputs_fill_a_crystals_cell_evenly() -> None:
    target = crystal_target()
    outputs = FixedCell(target).initial_outputs(jax.random.key(0), 400)
    counts, _ = np.histogram(fractional(target, outputs), bins=4, range=(0, 1))
    assert counts.sum() == 400 * 12
    assert np.abs(counts / counts.sum() - 0.25).max() < 0.02


def test_random_outputs_stay_in_the_inner_part_of_a_molecules_box() -> None:
    outputs = FixedCell(TARGET).initial_outputs(jax.random.key(0), 400)
    found = fractional(TARGET, outputs)
    volume = np.prod(np.ptp(found.reshape(-1, 3), axis=0)) * np.linalg.det(TARGET.cell_array)
    assert 20 < volume < 60  # methanol: 36 Å³ inside its van der Waals surface
    np.testing.assert_allclose(found.reshape(-1, 3).mean(axis=0), 0.5, atol=0.02)
