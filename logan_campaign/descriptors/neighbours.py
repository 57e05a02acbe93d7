"""The nearest neighbours of every atom of many structures, inside JAX.

Arrays run over (neighbour, lane); a lane is one central atom of one structure, in the order
(atom, structure). Where the neighbours are is differentiable, which ones they are is not.

Two notes on the XLA compiler for CPUs (jax 0.9) explain how things are written here. It
evaluates cheap expressions anew wherever they are used, but results of matrix products,
reductions, square roots and loops only once. And it writes sums over leading axes as
vector instructions, but sorts one number at a time.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.descriptors.backend import exact_matmul
from logan_campaign.descriptors.kernel import Descriptor, fading_shares

Vectors = tuple[jax.Array, jax.Array, jax.Array]

#: More candidates than this leave too few bits of a 32-bit key for the distance.
_KEY_LIMIT = 2048

#: Keys (4 bytes each) that one block of lanes may hold: half of a usual second-level cache.
_BLOCK_KEYS = 130_000


def pair_differences(
    values: jax.Array, order: np.ndarray | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return ``values[:, j] - values[:, i]`` for all pairs of atoms.

    A product with a matrix of 0, 1 and -1: exact, and its gradient is a product as well
    instead of a scatter.

    Args:
        values: (n, N, 3).
        order: order of the neighbours j; by default as they stand.

    Returns:
        Three components, each of shape (N, N * n): neighbour j, lane (i, structure).
    """
    n, n_atoms, _ = values.shape
    eye = np.eye(n_atoms)
    pairs = (eye if order is None else eye[order])[:, None, :] - eye[None, :, :]
    matrix = pairs.reshape(n_atoms**2, n_atoms)
    x, y, z = (
        exact_matmul(matrix, values[:, :, k].T).reshape(n_atoms, n_atoms * n) for k in range(3)
    )
    return x, y, z


def all_pairs(
    descriptor: Descriptor,
    positions: jax.Array,
    order: np.ndarray,
    present: jax.Array | None = None,
) -> tuple[Vectors, jax.Array]:
    """Return vectors to all atoms of a molecule and the share with which each counts.

    Args:
        descriptor: cutoffs.
        positions: (n, N, 3) (Å).
        order: order of the neighbours, sorted by species.
        present: (N,) which neighbours, in their order, are there; all by default.

    Returns:
        Vectors, each of shape (N, N * n) (Å), and shares of the same shape: 1 for the
        ``n_neighbour`` nearest, else 0; equal distances are taken in the given order.
        With the smooth cutoff the share falls continuously.
    """
    n, n_atoms, _ = positions.shape
    x, y, z = pair_differences(positions, order)
    itself: Any = np.repeat(np.eye(n_atoms, dtype=bool)[order], n, axis=1)
    if present is not None:
        itself = itself | ~present[:, None]
    if descriptor.cutoff == "smooth":
        return (x, y, z), fading_shares(descriptor, x * x + y * y + z * z, jnp.asarray(~itself))
    if n_atoms - 1 <= descriptor.n_neighbour:
        return (x, y, z), jnp.asarray(~itself, positions.dtype)
    square = jnp.where(itself, jnp.inf, x * x + y * y + z * z)
    distance = jax.lax.stop_gradient(jnp.sqrt(square))
    index = np.arange(n_atoms)
    closer = jnp.where(
        index[:, None, None] < index[None, :, None],
        distance[:, None] <= distance[None],
        distance[:, None] < distance[None],
    )
    counts = (closer.astype(positions.dtype).sum(axis=0) < descriptor.n_neighbour) & ~itself
    return (x, y, z), counts.astype(positions.dtype)


def nearest_images(
    descriptor: Descriptor,
    positions: jax.Array,
    kinds: np.ndarray | jax.Array,
    cells: jax.Array | None,
    images: np.ndarray | jax.Array | None,
    present: jax.Array | None = None,
) -> tuple[Vectors, jax.Array]:
    """Return vectors to the nearest atoms, periodic images included.

    Args:
        descriptor: cutoffs.
        positions: (n, N, 3) (Å).
        kinds: (N,) index of each atom's species.
        cells: (3, 3) or (n, 3, 3) cell vectors as rows (Å); None for molecules.
        images: (n_images, 3) lattice translations, the zero one first; with ``cells``.
        present: (N,) which atoms are there as neighbours; all by default.

    Returns:
        Vectors, each of shape (n_slots, N * n) (Å), and the share with which each counts, by
        species, (n_species, n_slots, N * n); all zero where there is no further neighbour.
    """
    n, n_atoms, _ = positions.shape
    lanes, dtype = n_atoms * n, positions.dtype
    if cells is None or images is None:
        difference: Any = pair_differences(positions)
        shifts: Any = [jnp.zeros((1, 1), dtype)] * 3
        n_images = 1
    else:
        each = jnp.broadcast_to(cells, (n, 3, 3))
        inverse = jnp.linalg.inv(cells)
        fractional: Any = sum(
            positions[..., k, None] * jnp.broadcast_to(inverse, (n, 3, 3))[:, None, k]
            for k in range(3)
        )
        folded = [d - jax.lax.stop_gradient(jnp.round(d)) for d in pair_differences(fractional)]
        # (3, 3, lanes): cell vector, component, and the structure of each lane
        wide = jnp.tile(each.transpose(1, 2, 0), (1, 1, n_atoms))
        difference = tuple(sum(folded[k] * wide[k, c] for k in range(3)) for c in range(3))
        table = jnp.asarray(images, dtype)
        shifts = [sum(table[:, k, None] * wide[k, c] for k in range(3)) for c in range(3)]
        n_images = len(images)
    flat = [jax.lax.stop_gradient(d) for d in difference]
    square = sum((flat[c][:, None] + jax.lax.stop_gradient(shifts[c])) ** 2 for c in range(3))
    itself = np.zeros((n_atoms, n_images, n_atoms, 1), dtype=bool)
    itself[np.arange(n_atoms), 0, np.arange(n_atoms)] = True
    own = np.broadcast_to(itself, (n_atoms, n_images, n_atoms, n)).reshape(-1, lanes)
    square = jnp.where(own, jnp.inf, square.reshape(-1, lanes))
    if present is not None:
        square = jnp.where(jnp.repeat(present, n_images)[:, None], square, jnp.inf)
    count = min(descriptor.n_slots, len(square))
    nearest, valid = _smallest(square / descriptor.r_cut**2, count)
    atom, image = nearest // n_images, nearest % n_images
    vectors = jnp.stack(
        [
            jnp.take_along_axis(difference[c], atom, axis=0)
            + jnp.take_along_axis(jnp.broadcast_to(shifts[c], (n_images, lanes)), image, axis=0)
            for c in range(3)
        ]
    )
    species = jnp.where(valid, jnp.asarray(kinds)[atom], -1)
    which = np.arange(len(descriptor.species)).reshape(-1, 1, 1)
    table = jnp.concatenate([vectors, (species[None] == which).astype(dtype)])
    # The product with one keeps the gathers from being repeated wherever their result is used.
    table = exact_matmul(np.eye(len(table)), table.reshape(len(table), -1)).reshape(table.shape)
    x, y, z, shares = table[0], table[1], table[2], table[3:]
    if descriptor.cutoff == "smooth":
        shares = shares * fading_shares(descriptor, x * x + y * y + z * z, valid)
    return (x, y, z), shares


def _smallest(square: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Return which values below one are the smallest of each lane.

    Args:
        square: (n_candidates, n_lanes) squared distances over squared cutoff radius.
        count: how many to find.

    Returns:
        Indices (count, n_lanes) and whether there was such a value, of the same shape.
    """
    n_candidates, lanes = square.shape

    def by_sorting(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        found, indices = jax.lax.top_k(-values.T, count)
        return indices.T.astype(jnp.int32), found.T > -1.0

    if n_candidates > _KEY_LIMIT:
        return by_sorting(square)
    bits = max(1, int(n_candidates - 1).bit_length())
    none = np.int32(2**31 - 1)

    def by_passes(values: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Each pass finds the next smallest key of every lane. Keys are the distance in fixed
        # point (finer than single precision resolves it) and, in the low bits, the index.
        blocks = _blocks(lanes, n_candidates)
        index = jnp.arange(n_candidates, dtype=jnp.int32)[:, None]

        def block(part: jax.Array) -> jax.Array:
            scaled = (jnp.minimum(part, 1.0) * np.float32(2 ** (31 - bits))).astype(jnp.int32)
            keys = jnp.where(part < 1.0, (scaled << bits) | index, none)

            def one(k: Any, carry: Any) -> Any:
                last, found = carry
                last = jnp.min(jnp.where(keys > last, keys, none), axis=0)
                return last, found.at[k].set(last)

            start = (
                jnp.full(keys.shape[1], -1, jnp.int32),
                jnp.zeros((count, keys.shape[1]), jnp.int32),
            )
            return jax.lax.fori_loop(0, count, one, start)[1]

        parts = values.reshape(n_candidates, blocks, -1).transpose(1, 0, 2)
        keys = jax.lax.map(block, parts).transpose(1, 0, 2).reshape(count, lanes)
        valid = keys < none
        return jnp.where(valid, keys & np.int32(2**bits - 1), 0), valid

    indices, valid = jax.lax.platform_dependent(square, cpu=by_passes, default=by_sorting)
    return indices, valid


def _blocks(lanes: int, n_candidates: int) -> int:
    """Return into how many equal blocks to split the lanes."""
    wanted = max(1, -(-lanes * n_candidates // _BLOCK_KEYS))
    return next(k for k in range(wanted, lanes + 1) if lanes % k == 0)
