"""One code for NumPy and JAX: single structures need no compilation, training needs it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


def namespace(array: Array) -> Any:
    """Return ``numpy`` for NumPy arrays, ``jax.numpy`` for JAX arrays and tracers."""
    return np if isinstance(array, np.ndarray) else jnp


def exact_matmul(a: Array, b: Array) -> Any:
    """Return ``a @ b`` in the precision of ``b``, also where a device would round its inputs."""
    if isinstance(b, np.ndarray):
        return a.astype(b.dtype) @ b
    return jnp.matmul(jnp.asarray(a, b.dtype), b, precision=jax.lax.Precision.HIGHEST)
