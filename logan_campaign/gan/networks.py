"""The two fully connected networks and what turns outputs into structures."""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.gan.settings import Hyperparameters, Target

#: Weights (n_in, n_out) and biases (n_out,) of each layer.
Parameters = tuple[tuple[jax.Array, jax.Array], ...]

GENERATOR_SLOPE = 0.1
CRITIC_SLOPE = 0.01


def init_network(key: jax.Array, sizes: tuple[int, ...]) -> Parameters:
    """Return layers with LeCun-normal weights and zero biases."""
    layers = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        key, sub = jax.random.split(key)
        weights = jax.random.normal(sub, (n_in, n_out), jnp.float32) / np.float32(np.sqrt(n_in))
        layers.append((weights, jnp.zeros(n_out, jnp.float32)))
    return tuple(layers)


def apply_network(parameters: Parameters, inputs: jax.Array, slope: float) -> jax.Array:
    """Return the outputs (n, n_out) of a leaky-ReLU network with a linear last layer."""
    for weights, bias in parameters[:-1]:
        inputs = inputs @ weights + bias
        inputs = jnp.where(inputs >= 0, inputs, slope * inputs)
    weights, bias = parameters[-1]
    return inputs @ weights + bias


def generate_outputs(parameters: Parameters, latents: jax.Array) -> jax.Array:
    """Return the generator's raw outputs (n, n_outputs) for latents (n, latent_size)."""
    return apply_network(parameters, latents, GENERATOR_SLOPE)


def score(parameters: Parameters, environments: jax.Array) -> jax.Array:
    """Return the critic's score of each environment (n, n_features) as (n,)."""
    return apply_network(parameters, environments, CRITIC_SLOPE)[:, 0]


class PostProcessing(Protocol):
    """Turns raw network outputs into structures; must be differentiable.

    ``n_outputs`` numbers come out of the generator per structure; calling the object with
    raw outputs of shape (n, n_outputs) returns positions (n, N, 3) in Å and cells, either
    (3, 3) for all or (n, 3, 3), in Å. It is here that symmetries or boundary conditions
    are imposed. ``initial_biases`` says where the outputs start.
    """

    n_outputs: int

    def __call__(self, outputs: jax.Array) -> tuple[jax.Array, jax.Array]: ...

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array: ...


class FixedCell:
    """Atoms in the target's cell, which stays as it is.

    Molecules: sigmoid of the outputs times the box, so that no atom leaves it. Crystals:
    fractional coordinates 1/2 + output/4 (the slope that the sigmoid has at its centre)
    modulo 1, so that atoms cross cell faces freely.
    """

    def __init__(self, target: Target) -> None:
        self.n_atoms = len(target.numbers)
        self.n_outputs = 3 * self.n_atoms
        self.periodic = target.periodic
        self.cell = target.cell_array.astype(np.float32)

    def __call__(self, outputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = outputs.reshape(len(outputs), self.n_atoms, 3)
        if self.periodic:
            fractional = (0.5 + outputs / 4.0) % 1.0
        else:
            fractional = jax.nn.sigmoid(outputs)
        cell = jnp.asarray(self.cell)
        # Written out: a matrix product with three rows is slower and less exact on some devices.
        positions = sum(fractional[..., k, None] * cell[k] for k in range(3))
        return jnp.asarray(positions), cell

    def initial_biases(self, key: jax.Array, spread: float) -> jax.Array:
        return jnp.float32(spread) * jax.random.normal(key, (self.n_outputs,), jnp.float32)


def init_generator(
    key: jax.Array, hyperparameters: Hyperparameters, place: PostProcessing
) -> Parameters:
    """Return a fresh generator whose atoms start ``initial_spread`` apart."""
    key, sub = jax.random.split(key)
    sizes = (hyperparameters.latent_size, *hyperparameters.generator_widths, place.n_outputs)
    layers = init_network(key, sizes)
    weights, _ = layers[-1]
    return (*layers[:-1], (weights, place.initial_biases(sub, hyperparameters.initial_spread)))


def init_critic(key: jax.Array, hyperparameters: Hyperparameters, n_features: int) -> Parameters:
    """Return a fresh critic of environments."""
    return init_network(key, (n_features, *hyperparameters.critic_widths, 1))
