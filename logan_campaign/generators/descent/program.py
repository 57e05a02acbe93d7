"""Descents from random starts, as pure functions with explicit keys.

The raw outputs of the post-processing are optimised directly, without a network, until the atoms
of a structure resemble atoms of the training set: Adam minimises the mean of :func:`misfits` over
its atoms, while bandwidth and step size shrink. Structures are optimised independently, so there
is no mode collapse.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from logan_campaign.descriptors.batch import batch_spectra
from logan_campaign.generators.cells import post_processing
from logan_campaign.generators.descent.reference import SpeciesReference, channels_of, misfits
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.target import Target
from logan_campaign.geometry.lattice import reduced_cell

#: Number of descents that run together, from which the best are kept.
BLOCK = 64

#: The bandwidth reaches its final value after this fraction of the steps.
_NARROWED = 0.8


class State(NamedTuple):
    """State of a block of descents.

    Attributes:
        step: number of steps done.
        outputs: (n, n_outputs) raw outputs.
        drawn: (n, n_drawn) drawn numbers, constant.
        optimizer: Adam's moments.
    """

    step: jax.Array
    outputs: jax.Array
    drawn: jax.Array
    optimizer: Any


class Schedule(NamedTuple):
    """Initial settings and length of a descent, which ends at ``last_bandwidth``, ``last_step``.

    Attributes:
        steps: number of optimiser steps.
        bandwidth: initial width of the kernels.
        step: initial step of the optimiser, in raw outputs.
    """

    steps: int
    bandwidth: float
    step: float


@dataclass(frozen=True)
class Problem:
    """Inputs that define a compiled program."""

    target: Target
    hyperparameters: DescentHyperparameters
    species: tuple[int, ...]


class Program:
    """Pure functions of one problem."""

    def __init__(self, problem: Problem) -> None:
        target = problem.target
        self.h = h = problem.hyperparameters.for_target(target)
        self.problem = problem
        self.descriptor = h.descriptor(problem.species)
        self.channels = channels_of(self.descriptor, target.periodic)
        self.place = post_processing(target)
        self.images = self.place.translations(self.descriptor.r_cut)
        self.cell = None
        if target.periodic and self.place.cell is not None:
            # All cells of a lattice give the same neighbours; the reduced cell is fastest.
            self.cell = reduced_cell(target.cell_array)
        numbers = np.array(target.numbers)
        self.rows = [np.flatnonzero(numbers == z) for z in sorted(set(target.numbers))]
        #: Number of structures kept from each block of descents.
        self.n_kept = max(1, round(h.keep * BLOCK))
        self.optimizer = optax.scale_by_adam()
        self.jit_block = jax.jit(self.block)
        self.jit_again = jax.jit(self.again)
        self.jit_misfit = jax.jit(self.misfit)

    def init(self, key: jax.Array, n: int) -> State:
        """Return ``n`` random structures; in crystals, close atoms then repel each other.

        Atoms that start too close rarely separate. In the box of a molecule, repulsion would only
        move them to the walls.
        """
        k_outputs, k_drawn = jax.random.split(key)
        drawn = jax.random.normal(k_drawn, (n, self.place.n_drawn), jnp.float32)
        outputs = self.place.initial_outputs(k_outputs, n)
        if self.problem.target.periodic and not self.problem.target.given:
            outputs = self._pushed_apart(outputs, drawn)
        return State(jnp.zeros((), jnp.int32), outputs, drawn, self.optimizer.init(outputs))

    def _pushed_apart(self, outputs: jax.Array, drawn: jax.Array) -> jax.Array:
        h = self.h
        slope = jax.grad(lambda o: self.crowding(*self.place(o, drawn)).sum())

        def push(_: int, carry: Any) -> Any:
            outputs, optimizer = carry
            gradient = slope(outputs)
            update, optimizer = self.optimizer.update(gradient, optimizer)
            return outputs - h.first_step * update, optimizer

        start = (outputs, self.optimizer.init(outputs))
        return jnp.asarray(jax.lax.fori_loop(0, h.spread_steps, push, start)[0])

    def crowding(self, positions: jax.Array, cells: jax.Array) -> jax.Array:
        """Return the sum of (1 - r/d)² over pairs of atoms closer than d in crystals, shape (n,).

        d is the cube root of the volume per atom.

        Args:
            positions: (n, N, 3) (Å).
            cells: (3, 3) or (n, 3, 3) cell vectors (Å).
        """
        n_atoms = positions.shape[1]
        cells = jnp.broadcast_to(cells, (len(positions), 3, 3))
        edge = (jnp.abs(jnp.linalg.det(cells)) / n_atoms) ** (1.0 / 3.0)
        images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
        shifts = jnp.einsum("ik,nkc->nic", jnp.asarray(images, positions.dtype), cells)
        itself = np.eye(n_atoms)[:, :, None] * (images == 0).all(axis=1)
        between = positions[:, :, None] - positions[:, None]
        vectors = between[:, :, :, None] + shifts[:, None, None]
        square = (vectors**2).sum(axis=-1)
        # the root has no derivative at 0, the distance of an atom to itself
        distance = jnp.sqrt(jnp.where(itself > 0, 1.0, jnp.maximum(square, 1e-6)))
        near = jnp.maximum(0.0, 1.0 - distance / edge[:, None, None, None])
        return (jnp.where(itself > 0, 0.0, near) ** 2).sum(axis=(1, 2, 3)) / 2.0

    def misfit(
        self,
        references: tuple[SpeciesReference, ...],
        positions: jax.Array,
        cells: jax.Array | None,
        bandwidth: jax.Array,
    ) -> jax.Array:
        """Return the mean over each structure's atoms of :func:`misfits`, shape (n,).

        Args:
            references: reference of each species of the target, by ascending atomic number.
            positions: (n, N, 3) (Å).
            cells: (n, 3, 3) lattice vectors (Å) if they differ between structures.
            bandwidth: width of the kernels.
        """
        cell = cells if self.cell is None else jnp.asarray(self.cell, positions.dtype)
        if self.images is None:
            cell = None
        spectra = batch_spectra(
            self.descriptor, self.problem.target.numbers, positions, cell, self.images
        )
        features = self.channels.split(spectra)
        total = jnp.zeros(len(positions), positions.dtype)
        for reference, rows in zip(references, self.rows, strict=True):
            own = misfits(reference, features[:, rows].reshape(-1, *features.shape[2:]), bandwidth)
            total = total + own.reshape(len(positions), len(rows)).sum(axis=1)
        return total / len(self.problem.target.numbers)

    def step(
        self, state: State, references: tuple[SpeciesReference, ...], schedule: Schedule
    ) -> State:
        """Return the state after one step of every descent."""
        h = self.h
        done = state.step / schedule.steps
        narrowed = jnp.minimum(1.0, done / _NARROWED)
        bandwidth = schedule.bandwidth * (h.last_bandwidth / schedule.bandwidth) ** narrowed
        length = schedule.step * (h.last_step / schedule.step) ** done

        def loss(outputs: jax.Array) -> jax.Array:
            return self.misfit(references, *self.place(outputs, state.drawn), bandwidth).sum()

        gradient = jax.grad(loss)(state.outputs)
        # A structure with non-finite numbers is not moved any more; its loss shows it.
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        update, optimizer = self.optimizer.update(gradient, state.optimizer)
        return State(state.step + 1, state.outputs - length * update, state.drawn, optimizer)

    def block(
        self, references: tuple[SpeciesReference, ...], key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return positions and cells of the kept structures of a block of descents.

        They are in their original order, so that any subset has the same quality.
        """
        h = self.h
        schedule = Schedule(h.descent_steps, h.first_bandwidth, h.first_step)
        return self.kept(self.init(key, BLOCK), references, schedule)

    def again(
        self, references: tuple[SpeciesReference, ...], outputs: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return positions and cells like :meth:`block`, from given starts.

        Args:
            references: reference of each species of the target, by ascending atomic number.
            outputs: (BLOCK, n_outputs) raw outputs.
        """
        h = self.h
        drawn = jnp.zeros((BLOCK, self.place.n_drawn), outputs.dtype)
        state = State(jnp.zeros((), jnp.int32), outputs, drawn, self.optimizer.init(outputs))
        schedule = Schedule(h.exchange_steps, h.exchange_bandwidth, h.exchange_step)
        return self.kept(state, references, schedule)

    def kept(
        self, state: State, references: tuple[SpeciesReference, ...], schedule: Schedule
    ) -> tuple[jax.Array, jax.Array]:
        """Return positions and cells of the descents with the lowest misfits."""
        state = jax.lax.fori_loop(
            0, schedule.steps, lambda _, s: self.step(s, references, schedule), state
        )
        positions, cells = self.place(state.outputs, state.drawn)
        cells = jnp.broadcast_to(cells, (BLOCK, 3, 3))
        last = jnp.float32(self.h.last_bandwidth)
        misfit = self.misfit(references, positions, cells, last)
        misfit = jnp.where(jnp.isfinite(misfit), misfit, jnp.inf)
        kept = jnp.sort(jnp.argsort(misfit)[: self.n_kept])
        return positions[kept], cells[kept]


@lru_cache(maxsize=8)
def program_for(problem: Problem) -> Program:
    """Return the program of a problem, compiled at most once per process."""
    return Program(problem)
