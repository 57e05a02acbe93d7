"""Time to generate many structures with a model of the paper's size.

python benchmarks/generation.py --system c5h12o --structures 24000 --json
"""

from __future__ import annotations

from systems import options_of, system, time_structures


def main() -> None:
    """Run the command line."""
    options = options_of(__doc__.splitlines()[0])
    import jax

    from logan_campaign.generators.wgan import Hyperparameters, LoganModel, generate
    from logan_campaign.generators.wgan.step import Problem, program_for

    _, target, settings = system(options.system)
    hyperparameters = Hyperparameters(**settings)
    species = tuple(sorted(set(target.numbers)))
    state = program_for(Problem.of(target, hyperparameters, species)).init(jax.random.key(0))
    model = LoganModel(
        state.generator, state.critic, hyperparameters, species, target, "set-none", 0, 0
    )
    time_structures(options, "generate", lambda n: generate(model, n, seed=0))


if __name__ == "__main__":
    main()
