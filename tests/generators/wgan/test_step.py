"""The optimised training step against one written as the paper describes it."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from systems import SETTINGS, TARGET, crystal_target, crystals, hyperparameters, training_set

from logan_campaign.descriptors.radial import bessel_roots
from logan_campaign.generators.environments import (
    RealEnvironments,
    real_environments,
    training_species,
)
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan import Hyperparameters
from logan_campaign.generators.wgan.networks import (
    CRITIC_SLOPE,
    apply_network,
    critic_gradient,
    init_network,
    penalty_gradient,
    score,
)
from logan_campaign.generators.wgan.step import Problem, Program


def plain_penalty(critic: Any, y: jax.Array) -> jax.Array:
    gradients = jax.vmap(jax.grad(lambda v: score(critic, v[None])[0]))(y)
    return ((jnp.linalg.norm(gradients, axis=1) - 1.0) ** 2).mean()


def some_critic(seed: int = 0) -> Any:
    key = jax.random.key(seed)
    layers = init_network(key, (7, 16, 8, 1))
    return tuple((w, b + 0.3 * jax.random.normal(key, b.shape)) for w, b in layers)


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * (np.abs(b).max() + 1e-6))


def test_explicit_gradients_are_those_of_automatic_differentiation() -> None:
    critic, key = some_critic(), jax.random.key(1)
    y, signs = jax.random.normal(key, (11, 7)), jax.random.normal(key, (11,))
    found = jax.jit(critic_gradient)(critic, y, signs)
    expected = jax.jit(jax.value_and_grad(lambda c: score(c, y) @ signs))(critic)
    assert_close(found, expected, 1e-5)
    penalty, norm, gradient = jax.jit(penalty_gradient)(critic, y)
    expected = jax.jit(jax.value_and_grad(plain_penalty))(critic, y)
    assert_close((penalty, gradient), expected, 1e-5)
    one = jax.jit(jax.vmap(jax.grad(lambda v: score(critic, v[None])[0])))
    assert float(norm) == pytest.approx(float(jnp.linalg.norm(one(y), axis=1).mean()))


def test_a_critic_without_gradient_is_penalised_but_not_turned_to_nan() -> None:
    critic = jax.tree.map(jnp.zeros_like, some_critic())
    penalty, norm, gradient = penalty_gradient(critic, jnp.ones((5, 7)))
    assert float(penalty) == 1.0
    assert float(norm) == 0.0
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def plain_radial(radial: str, order: int, n_max: int, r: jax.Array, r_cut: float) -> Any:
    """Radial functions from their formulas (Kocer et al. 2020, eqs. 2 to 7)."""
    count = n_max - order + 1
    if radial == "gaussian":
        widths = np.linspace(1.0, r_cut, count)
        return [jnp.exp(-((r / d) ** 2)) - math.exp(-((r_cut / d) ** 2)) for d in widths]

    def j(degree: int, x: Any) -> Any:
        low, high = jnp.sin(x) / x, jnp.sin(x) / x**2 - jnp.cos(x) / x
        for k in range(1, degree + 1):
            low, high = high, (2 * k + 1) / x * high - low
        return low

    u = bessel_roots(order, count + 1)[order]
    functions: list[Any] = []
    d = 1.0
    for n in range(count):
        a, b = u[n], u[n + 1]
        f = jnp.sqrt(2.0 / r_cut**3 / (a**2 + b**2)) * (
            b / j(order + 1, a) * j(order, r * a / r_cut)
            - a / j(order + 1, b) * j(order, r * b / r_cut)
        )
        if n:
            before = u[n - 1]
            e = before**2 * b**2 / ((before**2 + a**2) * (a**2 + b**2))
            f, d = (f + jnp.sqrt(e / d) * functions[-1]), 1.0 - e / d
            f = f / jnp.sqrt(d)
        functions.append(f)
    return functions


def plain_environments(program: Program, positions: jax.Array) -> jax.Array:
    """Descriptors of one structure as double sums over pairs of neighbours."""
    h, target = program.problem.hyperparameters, program.problem.target
    species, numbers = program.problem.species, np.array(target.numbers)
    reach = range(-2, 3) if target.periodic else range(1)
    shifts = np.array([[i, j, k] for i in reach for j in reach for k in reach])
    shifts = shifts @ target.cell_array
    others = (positions[:, None] + shifts[None]).reshape(-1, 3)
    kinds = np.repeat(numbers, len(shifts))
    names = jnp.asarray(species)

    def environment(centre: jax.Array, number: jax.Array) -> jax.Array:
        vectors = others - centre
        r = jnp.sqrt((vectors**2).sum(axis=1) + 1e-24)
        order = jnp.argsort(jnp.where(r < 1e-6, jnp.inf, r))[: h.n_neighbour]
        r, unit, kind = r[order], vectors[order] / r[order, None], jnp.asarray(kinds)[order]
        member = (kind == names[:, None]).astype(r.dtype)
        cosines = unit @ unit.T
        legendre = [jnp.ones_like(cosines), cosines]
        for k in range(2, h.n_max + 1):
            legendre.append(((2 * k - 1) * cosines * legendre[-1] - (k - 1) * legendre[-2]) / k)
        blocks = []
        for degree in range(h.n_max + 1):
            g = jnp.stack(plain_radial(h.radial, degree, h.n_max, r, h.r_cut))
            terms = jnp.where(r < h.r_cut, g, 0.0)[None] * member[:, None]
            factor = (2 * degree + 1) / (4 * math.pi) * legendre[degree]
            blocks.append(jnp.einsum("ank,kq,bnq->abn", terms, factor, terms))
        pairs = jnp.concatenate(blocks, axis=2)[np.triu_indices(len(species))]
        return jnp.concatenate([pairs.reshape(-1), (number == names).astype(r.dtype)])

    return jax.vmap(environment)(positions, jnp.asarray(numbers))


def plain_step(program: Program, state: Any, real: Any, draws: Any) -> Any:
    """One generator, then critic, then penalty updates, in double precision."""
    h, target = program.problem.hyperparameters, program.problem.target
    (generator, g_mean), (critic, c_mean) = state
    latents, picks, mixes = draws

    def fake(generator: Any, z: jax.Array) -> jax.Array:
        outputs = apply_network(generator, z, 0.1).reshape(len(z), -1, 3)
        fractional = 0.5 + outputs / 4 if target.periodic else jax.nn.sigmoid(outputs)
        positions = fractional @ target.cell_array
        return jax.vmap(lambda p: plain_environments(program, p))(positions)

    def rmsprop(parameters: Any, mean: Any, gradient: Any) -> Any:
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g**2, mean, gradient)
        return jax.tree.map(
            lambda p, g, m: p - h.learning_rate * g / jnp.sqrt(m + 1e-8), parameters, gradient, mean
        ), mean

    def scores(critic: Any, y: jax.Array) -> jax.Array:
        return apply_network(critic, y.reshape(-1, y.shape[-1]), CRITIC_SLOPE)

    loss, gradient = jax.value_and_grad(lambda g: scores(critic, fake(g, latents[0])).mean())(
        generator
    )
    generator, g_mean = rmsprop(generator, g_mean, gradient)
    fakes = jax.vmap(lambda z: fake(generator, z))(latents[1:])
    critic_losses, penalties = [], []
    for k in range(h.critic_updates):
        x, x_fake = real.features[picks[k]], fakes[k]
        value, gradient = jax.value_and_grad(
            lambda c, x=x, y=x_fake: scores(c, x).mean() - scores(c, y).mean()
        )(critic)
        critic, c_mean = rmsprop(critic, c_mean, gradient)
        critic_losses.append(value)
    for k in range(h.critic_updates, h.critic_updates + h.penalty_updates):
        x, x_fake = real.features[picks[k]], fakes[k]
        mix = mixes[k - h.critic_updates]
        y = (mix * x + (1 - mix) * x_fake).reshape(-1, x.shape[-1])
        value, gradient = jax.value_and_grad(plain_penalty)(critic, y)
        critic, c_mean = rmsprop(critic, c_mean, gradient)
        penalties.append(value)
    metrics = jnp.stack(
        [loss, jnp.stack(critic_losses).mean(), jnp.stack(penalties).mean(), -critic_losses[-1]]
    )
    return ((generator, g_mean), (critic, c_mean)), metrics


def ten_steps_of_both(
    structures: list[Atoms], target: Target, h: Hyperparameters, program_dtype: Any
) -> tuple[Any, Any]:
    """Metrics and networks after each kind of ten steps: the program's and plain ones.

    The plain steps are done in double precision, the program's in ``program_dtype``. Both see
    the same draws, made in single precision.
    """
    species = training_species(structures, target)
    program = Program(Problem.of(target, h, species))
    real = real_environments(structures, target, h, species, seed=3)
    n_atoms, rounds = len(target.numbers), h.critic_updates + h.penalty_updates
    key = jax.random.key(7)
    start = jax.tree.map(np.asarray, program.jit_init(jax.random.key(8)))
    draws = []
    for step in range(10):
        # The draws as the step documents them; rows of a round run over (structure, atom).
        k_latent, k_uniform = jax.random.split(jax.random.fold_in(key, step))
        rows = h.batch_size * n_atoms
        size = ((1 + rounds) * h.batch_size, h.latent_size)
        latents = jax.random.normal(k_latent, size, jnp.float32)
        uniform = jax.random.uniform(k_uniform, ((rounds + h.penalty_updates) * rows,), jnp.float32)
        share = np.asarray(uniform[: rounds * rows]).reshape(rounds, h.batch_size, n_atoms)
        picks = np.asarray(real.starts) + (share * np.asarray(real.counts)).astype(int)
        mixes = uniform[rounds * rows :].reshape(h.penalty_updates, h.batch_size, n_atoms, 1)
        draws.append((latents.reshape(1 + rounds, h.batch_size, -1), picks, mixes))

    def cast(tree: Any) -> Any:
        return jax.tree.map(
            lambda x: jnp.asarray(x, program_dtype if x.dtype.kind == "f" else x.dtype), tree
        )

    state, found = cast(start), []
    real = RealEnvironments(cast(jnp.asarray(real.features)), real.starts, real.counts)
    for step in range(10):
        state = program.jit_run(state, real, key, jnp.int32(step + 1))
        found.append([float(v) for v in state.metrics[:4]])
    with jax.enable_x64(True):
        generator, critic, features = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64), (start.generator, start.critic, real.features)
        )
        zeros = jax.tree.map(jnp.zeros_like, (generator, critic))
        plain: Any = ((generator, zeros[0]), (critic, zeros[1]))
        wide = RealEnvironments(features, real.starts, real.counts)
        plain_jit = jax.jit(
            lambda s, d: plain_step(program, s, wide, d),
            compiler_options={"xla_backend_optimization_level": 0},
        )
        expected = []
        for latents, picks, mixes in draws:
            plain, metrics = plain_jit(
                plain, (jnp.asarray(latents, jnp.float64), picks, jnp.asarray(mixes, jnp.float64))
            )
            expected.append(np.asarray(metrics))
    return (
        (np.array(found), state.generator, state.critic),
        (np.array(expected), plain[0][0], plain[1][0]),
    )


@pytest.mark.parametrize("system", ["molecule", "crystal"])
def test_ten_steps_agree_with_a_plainly_written_step(system: str) -> None:
    molecule = system == "molecule"
    found, expected = ten_steps_of_both(
        training_set() if molecule else crystals(),
        TARGET if molecule else crystal_target(),
        hyperparameters(radial="bessel" if molecule else "gaussian", r_cut=3.5, learning_rate=1e-4),
        jnp.float32,
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1.0, np.abs(b).max()))


@pytest.mark.long
def test_ten_steps_agree_with_a_plainly_written_step_at_the_papers_sizes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Both in double precision. In single precision RMSProp's first updates, of one size
    # whatever the gradient, let round-off decide about weights whose gradient is near zero.
    target = Target((6,) * 5 + (1,) * 12 + (8,), ((8, 0, 0), (0, 7, 0), (0, 0, 6)), False)
    with jax.enable_x64(True):
        for name in ("normal", "uniform"):
            draw = getattr(jax.random, name)
            monkeypatch.setattr(
                jax.random,
                name,
                lambda key, shape=(), dtype=jnp.float32, draw=draw: draw(
                    key, shape, jnp.float32
                ).astype(jnp.float64 if dtype == jnp.float32 else dtype),
            )
        found, expected = ten_steps_of_both(training_set(), target, Hyperparameters(), jnp.float64)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8 * max(1.0, np.abs(b).max()))


def test_members_of_equal_shape_train_together() -> None:
    # The smallest program: only the agreement counts here.
    h = hyperparameters(
        radial="gaussian", n_max=0, n_neighbour=9, penalty_updates=1, critic_updates=1
    )
    structures = training_set()
    species = training_species(structures, TARGET)
    program = Program(Problem.of(TARGET, h, species))
    reals = [real_environments(structures, TARGET, h, species, seed=s) for s in (0, 1)]
    keys = jax.random.split(jax.random.key(0), 2)
    together = jax.jit(jax.vmap(program.init))(keys)
    alone = jax.tree.map(lambda a: a[1], together)
    stacked = jax.tree.map(lambda *a: jnp.stack([jnp.asarray(x) for x in a]), *reals)
    steps, step = jax.jit(jax.vmap(program.step)), jax.jit(program.step)
    for _ in range(2):
        together = steps(together, stacked, keys)
        alone = step(alone, reals[1], keys[1])
    assert_close(jax.tree.map(lambda a: a[1], together), alone, 1e-3)


def test_settings_that_shape_no_program_share_one() -> None:
    one = Problem.of(TARGET, hyperparameters(steps=5, rattle_copies=2), (1, 6, 8))
    other = Problem.of(TARGET, hyperparameters(), (1, 6, 8))
    assert one == other
    assert SETTINGS["steps"] != 5
    assert one != Problem.of(TARGET, hyperparameters(n_neighbour=5), (1, 6, 8))
