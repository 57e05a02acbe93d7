"""One training step as a pure function of its state, with explicit keys.

A step is one generator, several critic and several gradient-penalty updates (paper
section 2.4). The generator is constant during the latter two, so all structures for them are
generated and described together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from logan_campaign.descriptors.batch import batch_spectra
from logan_campaign.descriptors.kernel import Descriptor
from logan_campaign.generators.cells import post_processing
from logan_campaign.generators.environments import RealEnvironments
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan.networks import (
    Parameters,
    critic_gradient,
    generate_outputs,
    init_critic,
    init_generator,
    penalty_gradient,
    score,
)
from logan_campaign.generators.wgan.settings import Hyperparameters
from logan_campaign.geometry.lattice import reduced_cell

#: Decay of RMSProp's running mean of squared gradients.
RMSPROP_DECAY = 0.9

#: Number of samples to measure the fraction of distinct ones.
N_DISTINCT = 64


class Metrics(NamedTuple):
    """Diagnostics of one step (scalars)."""

    generator_loss: jax.Array
    critic_loss: jax.Array
    penalty: jax.Array
    wasserstein: jax.Array
    critic_gradient_norm: jax.Array


class State(NamedTuple):
    """State of a training."""

    step: jax.Array
    generator: Parameters
    critic: Parameters
    generator_optimizer: Any
    critic_optimizer: Any
    metrics: Metrics


@dataclass(frozen=True)
class Problem:
    """Inputs that define a training program; equal problems share one compiled program."""

    target: Target
    hyperparameters: Hyperparameters
    species: tuple[int, ...]

    @classmethod
    def of(
        cls, target: Target, hyperparameters: Hyperparameters, species: tuple[int, ...]
    ) -> Problem:
        """Return the problem, with settings that do not affect the program set to fixed values."""
        same = {
            "steps": 1,
            "rattle_copies": 1,
            "rattle_stdev": 0.0,
            "environments_per_species": None,
        }
        return cls(target, hyperparameters.model_copy(update=same), species)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the problem's species."""
        return self.hyperparameters.descriptor(self.species)


class Program:
    """Pure functions of one problem; ``init``, ``step`` and ``run`` can be vmapped."""

    def __init__(self, problem: Problem) -> None:
        hyperparameters, target = problem.hyperparameters, problem.target
        self.problem = problem
        self.descriptor = problem.descriptor
        self.place = post_processing(target)
        self.n_inputs = hyperparameters.latent_size + self.place.n_drawn
        self.images = self.place.translations(hyperparameters.r_cut)
        self.cell = None
        if target.periodic and target.lattice == "fixed":
            # All cells of a lattice give the same neighbours; the reduced cell is fastest.
            self.cell = reduced_cell(target.cell_array)
        kinds = np.searchsorted(problem.species, target.numbers)
        self.one_hot = np.eye(len(problem.species), dtype=np.float32)[kinds]
        self.optimizer = optax.rmsprop(hyperparameters.learning_rate, decay=RMSPROP_DECAY)
        self.jit_init = jax.jit(self.init)
        self.jit_run = jax.jit(self.run, donate_argnums=(0,))
        self.jit_sample = jax.jit(self.structures, static_argnums=(2,))
        self.jit_fingerprints = jax.jit(self.fingerprints)
        self.jit_scores = jax.jit(self.scores)

    def init(self, key: jax.Array) -> State:
        """Return the state before the first step."""
        generator_key, critic_key = jax.random.split(key)
        hyperparameters = self.problem.hyperparameters
        generator = init_generator(generator_key, hyperparameters, self.place)
        critic = init_critic(critic_key, hyperparameters, self.descriptor.n_features)
        zero = jnp.zeros((), jnp.float32)
        return State(
            jnp.zeros((), jnp.int32),
            generator,
            critic,
            self.optimizer.init(generator),
            self.optimizer.init(critic),
            Metrics(zero, zero, zero, zero, zero),
        )

    def describe(self, positions: jax.Array, cells: jax.Array | None = None) -> jax.Array:
        """Return the descriptors of all atoms of structures, shape (n * N, n_features).

        Args:
            positions: (n, N, 3) (Å).
            cells: (n, 3, 3) lattice vectors (Å), as returned by ``place``; not needed for a
                fixed cell or molecules.
        """
        cell = cells if self.cell is None else jnp.asarray(self.cell, positions.dtype)
        if self.images is None:
            cell = None
        spectra = batch_spectra(
            self.descriptor, self.problem.target.numbers, positions, cell, self.images
        )
        kinds = jnp.broadcast_to(self.one_hot, (len(positions), *self.one_hot.shape))
        features = jnp.concatenate([spectra, kinds], axis=-1)
        return features.reshape(-1, features.shape[-1])

    def fake(self, generator: Parameters, latents: jax.Array) -> jax.Array:
        """Return descriptors of generated atoms, shape (n * N, n_features)."""
        return self.describe(*self.build(generator, latents))

    def build(self, generator: Parameters, latents: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return positions and cells of generated structures, as ``place`` does.

        Args:
            generator: layers.
            latents: (n, n_inputs) standard-normal numbers: latent variables, then drawn numbers.
        """
        drawn = latents[:, self.problem.hyperparameters.latent_size :]
        return self.place(generate_outputs(generator, latents), drawn)

    def step(self, state: State, real: RealEnvironments, key: jax.Array) -> State:
        """Return the state after one generator, several critic and penalty updates."""
        h = self.problem.hyperparameters
        n_atoms = len(self.problem.target.numbers)
        rounds = h.critic_updates + h.penalty_updates
        rows = h.batch_size * n_atoms
        key = jax.random.fold_in(key, state.step)
        k_latent, k_uniform = jax.random.split(key)
        # One draw for all updates: fewer and longer loops of the random number generator.
        latents = jax.random.normal(k_latent, ((1 + rounds) * h.batch_size, self.n_inputs))
        uniform = jax.random.uniform(k_uniform, ((rounds + h.penalty_updates) * rows,))

        def generator_loss(generator: Parameters) -> jax.Array:
            return score(state.critic, self.fake(generator, latents[: h.batch_size])).mean()

        loss, gradient = jax.value_and_grad(generator_loss)(state.generator)
        generator, generator_optimizer = self._update(
            gradient, state.generator_optimizer, state.generator
        )
        fakes = self.fake(generator, latents[h.batch_size :]).reshape(rounds, rows, -1)
        drawn = uniform[: rounds * rows].reshape(-1, n_atoms) * real.counts
        drawn = real.starts + jnp.minimum(drawn.astype(jnp.int32), real.counts - 1)
        reals = real.features[drawn.reshape(-1)].reshape(rounds, rows, -1)
        signs = jnp.concatenate([jnp.full(rows, 1 / rows), jnp.full(rows, -1 / rows)])

        def critic_update(carry: Any, batch: Any) -> Any:
            critic, optimizer = carry
            loss, gradient = critic_gradient(critic, jnp.concatenate(batch), signs)
            return self._update(gradient, optimizer, critic), loss

        n = h.critic_updates
        (critic, critic_optimizer), critic_losses = jax.lax.scan(
            critic_update, (state.critic, state.critic_optimizer), (reals[:n], fakes[:n])
        )
        mix = uniform[rounds * rows :].reshape(h.penalty_updates, rows, 1)
        mixed = mix * reals[n:] + (1.0 - mix) * fakes[n:]

        def penalty_update(carry: Any, environments: jax.Array) -> Any:
            critic, optimizer = carry
            loss, norm, gradient = penalty_gradient(critic, environments)
            return self._update(gradient, optimizer, critic), (loss, norm)

        (critic, critic_optimizer), (penalties, norms) = jax.lax.scan(
            penalty_update, (critic, critic_optimizer), mixed
        )
        metrics = Metrics(
            loss,
            critic_losses.mean(),
            penalties.mean() if h.penalty_updates else jnp.zeros(()),
            -critic_losses[-1],
            norms.mean() if h.penalty_updates else jnp.zeros(()),
        )
        return State(
            state.step + 1, generator, critic, generator_optimizer, critic_optimizer, metrics
        )

    def run(self, state: State, real: RealEnvironments, key: jax.Array, stop: jax.Array) -> State:
        """Return the state after all steps before number ``stop``."""
        return jax.lax.while_loop(lambda s: s.step < stop, lambda s: self.step(s, real, key), state)

    def structures(
        self, generator: Parameters, key: jax.Array, size: int, start: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return samples ``start`` … ``start + size`` of the random stream of ``key``."""
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(size))
        latents = jax.vmap(lambda k: jax.random.normal(k, (self.n_inputs,)))(keys)
        return self.build(generator, latents)

    def fingerprints(self, generator: Parameters, key: jax.Array) -> jax.Array:
        """Return mean descriptors of samples by species, to count distinct ones."""
        found = self.structures(generator, key, N_DISTINCT, jnp.zeros((), jnp.int32))
        features = self.describe(*found).reshape(N_DISTINCT, len(self.one_hot), -1)
        share = self.one_hot.T / np.maximum(self.one_hot.sum(axis=0), 1.0)[:, None]
        return jnp.einsum("sa,naf->nsf", share, features).reshape(N_DISTINCT, -1)

    def scores(
        self, critic: Parameters, positions: jax.Array, cells: jax.Array | None = None
    ) -> jax.Array:
        """Return the critic's mean score of each structure's atoms, shape (n,)."""
        return (
            score(critic, self.describe(positions, cells)).reshape(len(positions), -1).mean(axis=1)
        )

    def _update(self, gradient: Any, optimizer: Any, parameters: Any) -> Any:
        updates, optimizer = self.optimizer.update(gradient, optimizer, parameters)
        return optax.apply_updates(parameters, updates), optimizer


@lru_cache(maxsize=8)
def program_for(problem: Problem) -> Program:
    """Return the program of a problem, compiled at most once per process."""
    return Program(problem)
