"""Lattices as differentiable functions of a few numbers, and their reduction.

A lattice is a strained reference cell: cell = V^(1/3) · reference · exp(E/2), with a symmetric,
traceless E (so that the volume V is exact) of bounded Frobenius norm (so that no shape is
degenerate). Invariance under a point group is preserved if E is averaged over the group, which is
a projection of its five components.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.geometry.lattice import heights

#: Orthonormal basis of the symmetric, traceless matrices, (5, 3, 3).
STRAINS = np.array(
    [
        np.diag([-1, -1, 2]) / np.sqrt(6),
        np.diag([1, -1, 0]) / np.sqrt(2),
        *(
            (np.eye(3)[[i]].T @ np.eye(3)[[j]] + np.eye(3)[[j]].T @ np.eye(3)[[i]]) / np.sqrt(2)
            for i, j in ((0, 1), (0, 2), (1, 2))
        ),
    ]
)

#: Largest norm of E. Its largest eigenvalue is at most √(2/3) of that, so that the length of a
#: vector changes by at most a factor of exp(2/√6) = 2.3.
MAX_STRAIN = 2.0

#: Standard deviation per component of drawn strains before they are bounded: c/a of a tetragonal
#: cell is then within a factor of 1.6 of the reference in two cases out of three.
STRAIN_SPREAD = 0.75

#: Terms of exp(E/2): for the largest strain, the remainder is below single precision.
_TERMS = 11

#: Steps of Selling's reduction; at most eight were observed for bounded strains of cells of any
#: space group.
_STEPS = 16

#: Tolerance of zero, relative to the squared edge of a cube.
_TINY = 1e-5


def _selling_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of superbase vectors, and the transformed superbase for each."""
    pairs = list(itertools.combinations(range(4), 2))
    steps = np.zeros((len(pairs) + 1, 4, 4))
    for step, (i, j) in zip(steps, pairs, strict=False):
        step[i, i], step[j, j] = -1, 1
        for k in set(range(4)) - {i, j}:
            step[k, k] = step[k, i] = 1
    steps[-1] = np.eye(4)
    return np.array(pairs), steps


def _voronoi_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return the seven candidates for shortest vectors, and the triples that are bases."""
    vectors = np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    )
    triples = np.array(list(itertools.combinations(range(7), 3)))
    volumes = np.abs(np.linalg.det(vectors[triples]))
    return vectors, triples[np.isclose(volumes, 1)]


_PAIRS, _SELLING = _selling_tables()
_VECTORS, _TRIPLES = _voronoi_tables()
_SIGNS = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [1, -1, -1]])


@jax.jit  # otherwise its loop would be compiled at each call outside a program
def reduction(cells: jax.Array) -> jax.Array:
    """Return the transformation of each cell to its Niggli-reduced cell.

    Selling's algorithm finds an obtuse superbase; the three shortest lattice vectors are among the
    seven that it spans, and signs are chosen so that all angles are acute or none. The choice
    between vectors of equal length is arbitrary.

    Args:
        cells: (n, 3, 3) right-handed lattice vectors as rows.

    Returns:
        (n, 3, 3) integer matrices M of determinant 1, as floats: M @ cells is reduced.
        Differentiation treats them as constant, which they are almost everywhere.
    """
    cells = jax.lax.stop_gradient(cells)
    dtype, n = cells.dtype, len(cells)
    tiny = _TINY * jnp.abs(jnp.linalg.det(cells))[:, None] ** (2.0 / 3.0)
    start = np.vstack([np.eye(3), -np.ones(3)])
    superbase = jnp.broadcast_to(jnp.asarray(start, dtype), (n, 4, 3))
    steps = jnp.asarray(_SELLING, dtype)

    def one(_: int, superbase: jax.Array) -> jax.Array:
        vectors = product(superbase, cells)
        dots = (vectors[:, _PAIRS[:, 0]] * vectors[:, _PAIRS[:, 1]]).sum(axis=-1)
        worst = jnp.argmax(dots, axis=1)
        acute = (dots > tiny).any(axis=1)
        return product(steps[jnp.where(acute, worst, len(_PAIRS))], superbase)

    superbase = jax.lax.fori_loop(0, _STEPS, one, superbase)
    candidates = product(
        jnp.broadcast_to(jnp.asarray(_VECTORS, dtype), (n, 7, 3)), superbase[:, :3]
    )
    square = (product(candidates, cells) ** 2).sum(axis=-1)
    best = jnp.asarray(_TRIPLES)[jnp.argmin(square[:, _TRIPLES].sum(axis=-1), axis=1)]
    order = jnp.argsort(jnp.take_along_axis(square, best, axis=1), axis=1)
    best = jnp.take_along_axis(best, order, axis=1)
    basis = jnp.take_along_axis(candidates, best[..., None], axis=1)
    vectors = product(basis, cells)
    angles = jnp.stack(
        [(vectors[:, i] * vectors[:, j]).sum(axis=-1) for i, j in ((0, 1), (0, 2), (1, 2))], axis=1
    )
    signs = jnp.asarray(_SIGNS, dtype)
    flipped = angles[:, None] * (signs[:, (0, 0, 1)] * signs[:, (1, 2, 2)])
    sharpest = flipped.min(axis=2)
    acute = (sharpest > tiny).any(axis=1)
    chosen = jnp.where(acute, jnp.argmax(sharpest, axis=1), jnp.argmin(flipped.max(axis=2), axis=1))
    basis = basis * signs[chosen][..., None]
    return basis * jnp.round(jnp.linalg.det(basis))[:, None, None]


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return ``a @ b`` for batches of small matrices, written out for full precision."""
    return jnp.asarray(sum(a[..., :, k, None] * b[..., None, k, :] for k in range(a.shape[-1])))


def unimodular_inverse(matrices: jax.Array) -> jax.Array:
    """Return the inverses of (n, 3, 3) matrices of determinant 1: rows of cross products."""
    a, b, c = matrices[:, 0], matrices[:, 1], matrices[:, 2]
    return jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=-1)


def bounded(strains: jax.Array) -> jax.Array:
    """Return strains (n, 5) smoothly bounded by :data:`MAX_STRAIN`."""
    # The slope is 1 at zero; the sum under the root keeps the derivative finite there.
    norm = jnp.sqrt((strains**2).sum(axis=1, keepdims=True) + np.float32(1e-12))
    return strains * (MAX_STRAIN * jnp.tanh(norm / MAX_STRAIN) / norm)


@jax.jit
def strained(references: jax.Array, strains: jax.Array, volumes: jax.Array) -> jax.Array:
    """Return cells of given volume and strain.

    Args:
        references: (n, 3, 3) or (3, 3) right-handed cells of volume 1, vectors as rows.
        strains: (n, 5) components of E in :data:`STRAINS`.
        volumes: (n,) (Å³).
    """
    half = 0.5 * jnp.einsum("nk,kij->nij", strains, jnp.asarray(STRAINS, strains.dtype))
    one = jnp.broadcast_to(jnp.eye(3, dtype=strains.dtype), half.shape)

    def term(result: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:  # of Horner's scheme
        return one + product(half, result) / k, None

    # a loop, since written out it takes long to compile
    result, _ = jax.lax.scan(term, one, jnp.arange(_TERMS, 0, -1, dtype=strains.dtype))
    cells = product(jnp.broadcast_to(references, half.shape), result)
    return cells * jnp.cbrt(volumes)[:, None, None]


def covering_translations(cells: np.ndarray, r_cut: float) -> np.ndarray:
    """Return lattice translations that suffice for all of many cells, with a few extra.

    As :func:`logan_campaign.descriptors.lattice.translations`, but the distance of a box of
    fractional coordinates from the origin is replaced by a fast lower bound, its distance from
    lattice planes of low indices.

    Args:
        cells: (n, 3, 3) (Å).
        r_cut: cutoff radius (Å).
    """
    reach = np.floor(r_cut / heights(cells).min(axis=0) + 0.5).astype(int)
    ranges = [np.arange(-k, k + 1) for k in reach]
    candidates = np.array(list(itertools.product(*ranges)))
    planes = np.array(list(itertools.product((-1, 0, 1), repeat=3)))[14:]  # one of each pair ±h
    # rows of the transposed inverse are the reciprocal vectors
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(cells) @ planes.T, axis=1)
    steps = np.abs(candidates @ planes.T) - 0.5 * np.abs(planes).sum(axis=1)
    needed = np.zeros(len(candidates), dtype=bool)
    for each in spacing:
        needed |= (steps * each).max(axis=1) < r_cut
    found = candidates[needed]
    return found[np.argsort(np.abs(found).sum(axis=1), kind="stable")]
