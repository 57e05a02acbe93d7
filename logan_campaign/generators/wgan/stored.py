"""Cache of the exported training program beside its compiled form.

JAX caches compiled programs on disk, but to find one, a process has to trace the Python code
again, which takes longer than everything else before the first step.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from logan_campaign.core.files import write_atomically
from logan_campaign.generators.environments import RealEnvironments
from logan_campaign.generators.wgan.step import Problem, Program, State

logger = logging.getLogger(__name__)

#: Takes state, real environments, key and the step to stop at; returns the state there.
Run = Callable[[State, RealEnvironments, jax.Array, jax.Array], State]


def stored_run(program: Program, state: State, real: RealEnvironments, key: jax.Array) -> Run:
    """Return the program's ``run`` compiled for the arguments; the first is donated.

    With a compilation cache on a CPU, the program is read from the cache, or traced and written to
    it. Otherwise, and for crystals, whose program calls LAPACK, it is traced. Results are
    identical to the last bit.

    Args:
        program: the program.
        state, real, key: arguments of ``run``; only shapes and types matter.
    """
    run_traced: Run = program.jit_run
    directory = jax.config.values["jax_compilation_cache_dir"]
    if directory is None or jax.default_backend() != "cpu" or program.images is not None:
        return run_traced
    # Compiled explicitly: the call would compile again for arguments that differ only in being
    # committed to the device, as results are but an initial state is not.
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), _flat(state, real, key, jnp.int32(0))
    )
    stored = stored_program(program, Path(directory), state, real, key)
    if stored is None:
        return run_traced
    call = jax.jit(stored.call, donate_argnums=(0,)).lower(*shapes).compile()
    structure = jax.tree.structure(state)

    def run(state: State, real: RealEnvironments, key: jax.Array, stop: jax.Array) -> State:
        result: State = jax.tree.unflatten(structure, call(*_flat(state, real, key, stop)))
        return result

    return run


def stored_program(
    program: Program, directory: Path, state: State, real: RealEnvironments, key: jax.Array
) -> export.Exported | None:
    """Read the program's ``run`` on flat arguments from a directory, or trace and write it.

    None if it calls external functions, such as LAPACK: JAX registers these while tracing, so a
    process that only reads the program would crash.
    """
    structures = jax.tree.structure(state), jax.tree.structure(real)
    implementation = jax.random.key_impl(key)
    example = _flat(state, real, key, jnp.int32(0))
    path = directory / f"{_name(program.problem, str(implementation), example)}.stablehlo"
    found = _read(path)
    if found is not None:
        return found

    def on_leaves(state: list[Any], real: list[Any], key: jax.Array, stop: jax.Array) -> list[Any]:
        first, second = map(jax.tree.unflatten, structures, (state, real))
        typed = jax.random.wrap_key_data(key, impl=implementation)
        return jax.tree.leaves(program.run(first, second, typed, stop))

    traced = export.export(jax.jit(on_leaves))(*example)
    if "custom_call" in traced.mlir_module():
        return None
    _write(path, bytes(traced.serialize()))
    return traced


def _flat(state: State, real: RealEnvironments, key: jax.Array, stop: jax.Array) -> tuple[Any, ...]:
    return jax.tree.leaves(state), jax.tree.leaves(real), jax.random.key_data(key), stop


def _name(problem: Problem, implementation: str, example: Any) -> str:
    """Return a file name that depends on everything that determines the program."""
    return hashlib.sha256(
        json.dumps(
            [
                problem.hyperparameters.model_dump(mode="json"),
                repr((problem.target, problem.species, implementation)),
                [(str(x.dtype), x.shape) for x in jax.tree.leaves(example)],
                [version("jax"), version("jaxlib"), jax.config.values["jax_enable_x64"]],
                _sources(),
            ]
        ).encode()
    ).hexdigest()


@lru_cache(maxsize=1)
def _sources() -> str:
    """Return the hash of the traced code."""
    generators = Path(__file__).parents[1]
    files = sorted([*generators.rglob("*.py"), *(generators.parent / "descriptors").glob("*.py")])
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _read(path: Path) -> export.Exported | None:
    """Return the program in a file whose first 32 bytes are the hash of the others."""
    try:
        content = path.read_bytes()
    except OSError:
        return None  # does not exist yet, the usual case
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        logger.warning("ignoring %s, which is damaged; the program is traced again", path)
        return None
    return export.deserialize(bytearray(content[32:]))


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, hashlib.sha256(content).digest() + content)
    except OSError as err:
        logger.warning("the training program is not cached: %s", err)
