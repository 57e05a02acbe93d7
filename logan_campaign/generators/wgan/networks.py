"""The two fully connected networks."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from logan_campaign.generators.cells import PostProcessing
from logan_campaign.generators.wgan.settings import Hyperparameters

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
    """Return ``inputs.T @ signals`` with an explicit transpose, which is faster."""
    return jax.lax.optimization_barrier(inputs.T) @ signals


def _forward(parameters: Parameters, inputs: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
    """Return the inputs of every layer, and the slopes of every hidden layer."""
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
    """Return ``sum(signs * score)`` and its gradient with respect to the critic's parameters.

    Args:
        critic: layers.
        environments: (n, n_features).
        signs: (n,) weight of each score; 1/n for real and -1/n for generated environments give
            the critic's loss (paper eq. 5).
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

    The critic is piecewise linear, so its gradient ∇C(y) is a product of weights and slopes that do
    not change with the parameters. The penalty's gradient takes one pass of the direction
    d(penalty)/d(∇C) through the same linear map. A zero ∇C gives a penalty of 1 with zero
    gradient, as the norm has no derivative there.

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


def init_generator(
    key: jax.Array, hyperparameters: Hyperparameters, place: PostProcessing
) -> Parameters:
    """Return a new generator whose atoms start ``initial_spread`` apart."""
    key, sub = jax.random.split(key)
    n_inputs = hyperparameters.latent_size + place.n_drawn
    sizes = (n_inputs, *hyperparameters.generator_widths, place.n_outputs)
    layers = init_network(key, sizes)
    weights, _ = layers[-1]
    return (*layers[:-1], (weights, place.initial_biases(sub, hyperparameters.initial_spread)))


def init_critic(key: jax.Array, hyperparameters: Hyperparameters, n_features: int) -> Parameters:
    """Return a new critic of environments."""
    return init_network(key, (n_features, *hyperparameters.critic_widths, 1))
