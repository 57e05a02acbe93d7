"""Descents from random starts, as pure functions with explicit keys.

The raw outputs of the post-processing are optimised directly, without a network, until the atoms
of a structure resemble atoms of the training set: Adam minimises the mean of :func:`misfits` over
its atoms, while bandwidth and step size shrink. Structures are optimised independently, so there
is no mode collapse.

To compile a program takes longer than most descents. Everything that differs between targets of
similar size is therefore an array, and atoms, lattice translations and environments are filled up
to round numbers: one program serves many compositions, cells and settings.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from logan_campaign.descriptors.batch import padded_spectra
from logan_campaign.descriptors.environments import species_indices
from logan_campaign.descriptors.kernel import Descriptor
from logan_campaign.generators.cells import post_processing
from logan_campaign.generators.cells.base import PostProcessing
from logan_campaign.generators.cells.fixed import FixedCell
from logan_campaign.generators.descent.reference import (
    Channels,
    SpeciesReference,
    channels_of,
    misfits,
    stacked,
)
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.target import Target
from logan_campaign.geometry.lattice import reduced_cell

#: Number of descents that run together, from which the best are kept.
BLOCK = 64

#: The bandwidth reaches its final value after this fraction of the steps.
_NARROWED = 0.8

#: Lattice translations are filled up to a multiple of the first number, many to one of the second.
_IMAGES = 8, 32

#: Smallest number of atoms in a crystal that a program is compiled for.
_ATOMS = 4

#: A translation (in lattice vectors) that brings nothing near.
_FAR = 1000

_adam = optax.scale_by_adam()


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
    """Settings of a descent.

    Attributes:
        steps: number of optimiser steps.
        bandwidth: initial width of the kernels.
        step: initial step of the optimiser, in raw outputs.
        last_bandwidth: final width of the kernels.
        last_step: final step of the optimiser.
        spread_steps: steps of repulsion between close atoms before the descent.
    """

    steps: int
    bandwidth: float
    step: float
    last_bandwidth: float
    last_step: float
    spread_steps: int


class System(NamedTuple):
    """What descents are of: the arrays of a program.

    Attributes:
        place: post-processing of raw numbers to structures.
        kinds: (N,) index of each atom's species among those of the descriptor.
        present: (N,) whether there is such an atom.
        cell: (3, 3) cell vectors (Å) for the neighbours; None for molecules and cells that differ.
        images: (n_images, 3) lattice translations; None for molecules.
        unit: length (Å) that the descriptor's cutoff radius stands for.
        references: environments of each species of the descriptor.
    """

    place: PostProcessing
    kinds: jax.Array
    present: jax.Array
    cell: jax.Array | None
    images: jax.Array | None
    unit: jax.Array
    references: SpeciesReference


@dataclass(frozen=True)
class Problem:
    """Inputs that define a program."""

    target: Target
    hyperparameters: DescentHyperparameters
    species: tuple[int, ...]


def init(system: System, key: jax.Array, n: int, schedule: Schedule) -> State:
    """Return ``n`` random structures; in crystals, close atoms then repel each other.

    Atoms that start too close rarely separate. In the box of a molecule, repulsion would only
    move them to the walls.
    """
    k_outputs, k_drawn = jax.random.split(key)
    drawn = jax.random.normal(k_drawn, (n, system.place.n_drawn), jnp.float32)
    outputs = system.place.initial_outputs(k_outputs, n)
    if system.images is not None:
        slope = jax.grad(lambda o: crowding(system.present, *system.place(o, drawn)).sum())

        def push(_: int, carry: Any) -> Any:
            outputs, optimizer = carry
            update, optimizer = _adam.update(slope(outputs), optimizer)
            return outputs - schedule.step * update, optimizer

        start = (outputs, _adam.init(outputs))
        outputs = jax.lax.fori_loop(0, schedule.spread_steps, push, start)[0]
    return State(jnp.zeros((), jnp.int32), outputs, drawn, _adam.init(outputs))


def crowding(present: jax.Array, positions: jax.Array, cells: jax.Array) -> jax.Array:
    """Return the sum of (1 - r/d)² over pairs of atoms closer than d in crystals, shape (n,).

    d is the cube root of the volume per atom.

    Args:
        present: (N,) whether there is such an atom.
        positions: (n, N, 3) (Å).
        cells: (3, 3) or (n, 3, 3) cell vectors (Å).
    """
    n_atoms = positions.shape[1]
    cells = jnp.broadcast_to(cells, (len(positions), 3, 3))
    edge = (jnp.abs(jnp.linalg.det(cells)) / present.sum()) ** (1.0 / 3.0)
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    shifts = jnp.einsum("ik,nkc->nic", jnp.asarray(images, positions.dtype), cells)
    itself = np.eye(n_atoms)[:, :, None] * (images == 0).all(axis=1)
    between = positions[:, :, None] - positions[:, None]
    vectors = between[:, :, :, None] + shifts[:, None, None]
    square = (vectors**2).sum(axis=-1)
    # the root has no derivative at 0, the distance of an atom to itself
    distance = jnp.sqrt(jnp.where(itself > 0, 1.0, jnp.maximum(square, 1e-6)))
    near = jnp.maximum(0.0, 1.0 - distance / edge[:, None, None, None])
    pairs = present[:, None, None] & present[:, None] & (itself == 0)
    return (jnp.where(pairs, near, 0.0) ** 2).sum(axis=(1, 2, 3)) / 2.0


def misfit(
    channels: Channels,
    system: System,
    positions: jax.Array,
    cells: jax.Array | None,
    bandwidth: jax.Array | float,
) -> jax.Array:
    """Return the mean over each structure's atoms of :func:`misfits`, shape (n,).

    Args:
        channels: of the descriptor.
        system: atoms and references.
        positions: (n, N, 3) (Å).
        cells: (n, 3, 3) lattice vectors (Å) if they differ between structures.
        bandwidth: width of the kernels.
    """
    cells = cells if system.cell is None else system.cell
    spectra = padded_spectra(
        channels.descriptor,
        system.kinds,
        system.present,
        positions / system.unit,
        None if system.images is None or cells is None else cells / system.unit,
        system.images,
    )
    features = channels.split(spectra / system.unit**3)
    own = jax.tree.map(lambda array: array[system.kinds], system.references)
    each = jax.vmap(misfits, (0, 1, None), 1)(own, features, jnp.float32(bandwidth))
    return jnp.where(system.present, each, 0.0).sum(axis=1) / system.present.sum()


def descend(channels: Channels, system: System, state: State, schedule: Schedule) -> State:
    """Return the state after one step of every descent."""
    done = state.step / schedule.steps
    narrowed = jnp.minimum(1.0, done / _NARROWED)
    bandwidth = schedule.bandwidth * (schedule.last_bandwidth / schedule.bandwidth) ** narrowed
    length = schedule.step * (schedule.last_step / schedule.step) ** done

    def loss(outputs: jax.Array) -> jax.Array:
        return misfit(channels, system, *system.place(outputs, state.drawn), bandwidth).sum()

    gradient = jax.grad(loss)(state.outputs)
    # A structure with non-finite numbers is not moved any more; its loss shows it.
    gradient = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
    update, optimizer = _adam.update(gradient, state.optimizer)
    return State(state.step + 1, state.outputs - length * update, state.drawn, optimizer)


@partial(jax.jit, static_argnums=2)
def _start(system: System, key: jax.Array, n: int, schedule: Schedule) -> State:
    return init(system, key, n, schedule)


@partial(jax.jit, static_argnums=0)
def _descents(
    descriptor: Descriptor, system: System, state: State, schedule: Schedule
) -> tuple[jax.Array, jax.Array]:
    """Return positions and cells (n, 3, 3) of structures after all steps."""
    channels = channels_of(descriptor, system.images is not None)
    state = jax.lax.fori_loop(
        0, schedule.steps, lambda _, s: descend(channels, system, s, schedule), state
    )
    positions, cells = system.place(state.outputs, state.drawn)
    return positions, jnp.broadcast_to(cells, (len(positions), 3, 3))


@partial(jax.jit, static_argnums=0)
def _misfit(
    descriptor: Descriptor,
    system: System,
    positions: jax.Array,
    cells: jax.Array | None,
    bandwidth: float,
) -> jax.Array:
    channels = channels_of(descriptor, system.images is not None)
    return misfit(channels, system, positions, cells, bandwidth)


class Program:
    """The compiled functions of one problem."""

    def __init__(self, problem: Problem) -> None:
        target = problem.target
        self.h = h = problem.hyperparameters.for_target(target)
        self.n_atoms = len(target.numbers)
        self.descriptor = actual = h.descriptor(problem.species)
        unit = 1.0
        # Bessel functions scale with the cutoff radius; which species there are does not matter.
        self.compiled = replace(actual, species=tuple(range(1, 1 + len(actual.species))))
        if actual.radial == "bessel":
            unit, self.compiled = actual.r_cut, replace(self.compiled, r_cut=1.0)
        self.channels = channels_of(actual, target.periodic)
        self.place = post_processing(target)
        self.images = self.place.translations(actual.r_cut)
        fills_up = target.periodic and not target.given
        n = _size(self.n_atoms) if fills_up else self.n_atoms
        cell = images = None
        if self.images is not None:
            more = -len(self.images) % _IMAGES[len(self.images) > _IMAGES[1]]
            images = np.pad(self.images, ((0, more), (0, 0)), constant_values=_FAR)
            if self.place.cell is not None:
                # All cells of a lattice give the same neighbours; the reduced cell is fastest.
                cell = jnp.asarray(reduced_cell(target.cell_array), jnp.float32)
        kinds = species_indices(np.array(target.numbers), actual.species)
        self.rows = sorted(set(kinds.tolist()))
        self.system = System(
            self.place.padded(n) if fills_up else self.place,
            jnp.asarray(np.pad(kinds, (0, n - self.n_atoms), mode="edge")),
            jnp.arange(n) < self.n_atoms,
            cell,
            None if images is None else jnp.asarray(images, jnp.float32),
            jnp.float32(unit),
            SpeciesReference(*[jnp.zeros(())] * 5),
        )
        #: Number of structures kept from each block of descents.
        self.n_kept = max(1, round(h.keep * BLOCK))
        last = h.last_bandwidth, h.last_step
        self.first = Schedule(
            h.descent_steps,
            h.first_bandwidth,
            h.first_step,
            *last,
            # free atoms start beside the given ones
            0 if target.given else h.spread_steps,
        )
        self.exchange = Schedule(
            h.exchange_steps, h.exchange_bandwidth, h.exchange_step, *last, spread_steps=0
        )

    def with_references(self, references: Sequence[SpeciesReference]) -> System:
        """Return the system with references of the target's species, by ascending number."""
        n_species, n_channels = len(self.compiled.species), len(self.channels.species)
        own = stacked(references, self.rows, n_species, n_channels)
        return self.system._replace(references=own)

    def block(self, system: System, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and cells (Å) of the kept structures of a block of descents.

        They are in their original order, so that any subset has the same quality.
        """
        return self._kept(system, _start(system, key, BLOCK, self.first), self.first)

    def again(self, system: System, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and cells like :meth:`block`, from given molecules.

        Args:
            system: with references.
            positions: (BLOCK, N, 3) (Å).
        """
        assert isinstance(self.place, FixedCell)  # molecules have a fixed box
        more = system.place.n_outputs - self.place.n_outputs
        outputs = jnp.pad(self.place.outputs_of(positions), ((0, 0), (0, more)))
        drawn = jnp.zeros((len(outputs), self.place.n_drawn), outputs.dtype)
        start = State(jnp.zeros((), jnp.int32), outputs, drawn, _adam.init(outputs))
        return self._kept(system, start, self.exchange)

    def misfit(
        self, system: System, positions: np.ndarray, cells: np.ndarray | None, bandwidth: float
    ) -> jax.Array:
        """Return :func:`misfit` of structures (n, N, 3) (Å)."""
        more = len(system.kinds) - self.n_atoms
        padded = jnp.pad(positions, ((0, 0), (0, more), (0, 0)), mode="edge")
        return _misfit(self.compiled, system, padded, cells, bandwidth)

    def _kept(
        self, system: System, start: State, schedule: Schedule
    ) -> tuple[np.ndarray, np.ndarray]:
        placed, vectors = _descents(self.compiled, system, start, schedule)
        positions, cells = np.asarray(placed)[:, : self.n_atoms], np.asarray(vectors)
        if self.n_kept == len(positions):  # nothing to compile
            return positions, cells
        each = vectors if system.cell is None and system.images is not None else None
        misfit = np.asarray(_misfit(self.compiled, system, placed, each, schedule.last_bandwidth))
        misfit = np.where(np.isfinite(misfit), misfit, np.inf)
        kept = np.sort(np.argsort(misfit, kind="stable")[: self.n_kept])
        return positions[kept], cells[kept]


def _size(n: int) -> int:
    """Return the number of atoms that a program for n is compiled for: 4 to 8, 10, 12, …, 20, …"""
    step = max(1, 1 << max(0, n.bit_length() - 3))
    return max(_ATOMS, -(-n // step) * step)


@lru_cache(maxsize=64)
def program_for(problem: Problem) -> Program:
    """Return the program of a problem."""
    return Program(problem)
