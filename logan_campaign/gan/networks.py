"""The two fully connected networks and what turns outputs into structures."""

from __future__ import annotations

import itertools
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
    for n_in, n_out in itertools.pairwise(sizes):
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


def _outer(inputs: jax.Array, signals: jax.Array) -> jax.Array:
    """Return ``inputs.T @ signals``, the transpose written out: faster than a folded one."""
    return jax.lax.optimization_barrier(inputs.T) @ signals


def _forward(parameters: Parameters, inputs: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
    """Return the inputs of every layer and the slopes of every hidden one."""
    layers, slopes = [inputs], []
    for weights, bias in parameters[:-1]:
        before = layers[-1] @ weights + bias
        slopes.append(jnp.where(before >= 0, np.float32(1.0), np.float32(CRITIC_SLOPE)))
        layers.append(before * slopes[-1])
    return layers, slopes


def _backward(
    parameters: Parameters, slopes: list[jax.Array], signal: jax.Array
) -> list[jax.Array]:
    """Return the derivative of sum(signal * score) by each layer's output before activation."""
    signals = [signal[:, None]]
    for (weights, _), slope in zip(parameters[:0:-1], slopes[::-1], strict=True):
        signals.append((signals[-1] @ weights.T) * slope)
    return signals[::-1]


def critic_gradient(
    critic: Parameters, environments: jax.Array, signs: jax.Array
) -> tuple[jax.Array, Parameters]:
    """Return ``sum(signs * score)`` and its gradient by the critic's parameters.

    Args:
        critic: layers.
        environments: (n, n_features).
        signs: (n,) weight of each score; 1/n for real and -1/n for generated ones make the
            critic's loss (paper eq. 5).
    """
    layers, slopes = _forward(critic, environments)
    weights, bias = critic[-1]
    scores = layers[-1] @ weights[:, 0] + bias[0]
    signals = _backward(critic, slopes, signs)
    gradient = tuple((_outer(x, s), s.sum(axis=0)) for x, s in zip(layers, signals, strict=True))
    return scores @ signs, gradient


def penalty_gradient(
    critic: Parameters, environments: jax.Array
) -> tuple[jax.Array, jax.Array, Parameters]:
    """Return the gradient penalty (paper eq. 6), the mean norm, and the penalty's gradient.

    The critic is piecewise linear, so its gradient ∇C(y) is a product of weights and
    slopes that do not change with the parameters. The penalty's gradient takes one pass
    with the direction d(penalty)/d(∇C) through the same linear map. A zero gradient gives
    a penalty of 1 and, as the norm has no derivative there, pushes nowhere.

    Args:
        critic: layers.
        environments: (n, n_features) points y.
    """
    n = len(environments)
    _, slopes = _forward(critic, environments)
    signals = _backward(critic, slopes, jnp.ones(n, environments.dtype))
    gradients = signals[0] @ critic[0][0].T
    square = (gradients**2).sum(axis=1)
    nonzero = square > 0
    norm = jnp.where(nonzero, jnp.sqrt(jnp.where(nonzero, square, 1.0)), 0.0)
    push = jnp.where(nonzero, 2.0 / n * (norm - 1.0) / jnp.where(nonzero, norm, 1.0), 0.0)
    tangent = gradients * push[:, None]
    result = []
    for k, (weights, bias) in enumerate(critic):
        result.append((_outer(tangent, signals[k]), jnp.zeros_like(bias)))
        if k < len(slopes):
            tangent = (tangent @ weights) * slopes[k]
    return ((norm - 1.0) ** 2).mean(), norm.mean(), tuple(result)


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
        fractional = (0.5 + outputs / 4.0) % 1.0 if self.periodic else jax.nn.sigmoid(outputs)
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
