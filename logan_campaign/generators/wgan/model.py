"""Trained models: stored without code, as safetensors with a JSON header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.core.files import write_atomically
from logan_campaign.core.model_files import read_model, write_tensors
from logan_campaign.generators.pools import GeneratedPool
from logan_campaign.generators.target import Target
from logan_campaign.generators.wgan.networks import Parameters
from logan_campaign.generators.wgan.settings import Hyperparameters
from logan_campaign.generators.wgan.step import Problem


@dataclass(frozen=True, eq=False)
class LoganModel:
    """A trained generator and critic with all data needed to use them.

    Attributes:
        generator, critic: weights (n_in, n_out) and biases (n_out,) per layer.
        hyperparameters: as trained.
        species: atomic numbers in the training set, ascending.
        target: atoms and cell to generate.
        training_set_id: id of the training set.
        seed: seed of the training.
        steps: number of generator updates done.
        start_id: id of the model from which training continued, if any.
        algorithm_version: version of the training algorithm.
    """

    generator: Parameters
    critic: Parameters
    hyperparameters: Hyperparameters
    species: tuple[int, ...]
    target: Target
    training_set_id: str
    seed: int
    steps: int
    start_id: str | None = None
    algorithm_version: int = Hyperparameters.algorithm_version

    @property
    def id(self) -> str:
        """Content id of the inputs of the training."""
        return self.hyperparameters.model_id(
            self.training_set_id, self.target, self.seed, self.start_id
        )

    @property
    def problem(self) -> Problem:
        """The problem that defines the model's compiled programs."""
        return Problem.of(self.target, self.hyperparameters, self.species)

    def generate(self, n: int, *, seed: int) -> GeneratedPool:
        """Return ``n`` structures; see :func:`logan_campaign.generators.wgan.generate`."""
        from logan_campaign.generators.wgan.generation import generate

        return generate(self, n, seed=seed)

    def scores(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the critic's scores; see :func:`logan_campaign.generators.wgan.critic_scores`."""
        from logan_campaign.generators.wgan.generation import critic_scores

        return critic_scores(self, positions, cells)

    def to_bytes(self) -> bytes:
        """Return the model as the contents of a safetensors file."""
        header = {
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "species": list(self.species),
            "target": self.target.as_dict(),
            "training_set_id": self.training_set_id,
            "seed": self.seed,
            "steps": self.steps,
            "algorithm_version": self.algorithm_version,
            "start_id": self.start_id,
        }
        return write_tensors(Hyperparameters.file_format, header, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the trained arrays by name."""
        return {
            **parameter_tensors("generator", self.generator),
            **parameter_tensors("critic", self.critic),
        }

    @classmethod
    def from_bytes(cls, content: bytes) -> LoganModel:
        """Return the model in the bytes of :meth:`to_bytes`.

        Raises:
            ModelFileError: the bytes are truncated, not a model, or of an unknown version.
        """
        header, tensors = read_model(
            Hyperparameters.file_format, Hyperparameters.algorithm_version, content
        )
        try:
            return cls(
                generator=tensor_parameters("generator", tensors),
                critic=tensor_parameters("critic", tensors),
                hyperparameters=Hyperparameters.model_validate(header["hyperparameters"]),
                species=tuple(int(z) for z in header["species"]),
                target=Target(**header["target"]),
                training_set_id=str(header["training_set_id"]),
                seed=int(header["seed"]),
                steps=int(header["steps"]),
                start_id=header.get("start_id"),
            )
        except (KeyError, TypeError, ValueError, ValidationError, InputError) as err:
            raise ModelFileError(f"the model file's header is incomplete: {err!r}") from err

    def save(self, path: str | Path) -> None:
        """Write the model to a file, atomically."""
        write_atomically(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> LoganModel:
        """Read a model file.

        Raises:
            ModelFileError: the file is missing, truncated, not a model, or of an unknown version.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as err:
            raise ModelFileError(f"cannot read model file {path}: {err.strerror}") from err
        return cls.from_bytes(content)


def parameter_tensors(name: str, parameters: Parameters) -> dict[str, np.ndarray]:
    """Return a network's layers as named arrays."""
    tensors = {}
    for k, (weights, bias) in enumerate(parameters):
        tensors[f"{name}.{k}.weights"] = np.asarray(weights)
        tensors[f"{name}.{k}.bias"] = np.asarray(bias)
    return tensors


def tensor_parameters(name: str, tensors: dict[str, np.ndarray]) -> Parameters:
    """Return the network with the given name; KeyError if there is none."""
    n_layers = sum(key.startswith(f"{name}.") for key in tensors) // 2
    if n_layers == 0:
        raise KeyError(name)
    return tuple(
        (jnp.asarray(tensors[f"{name}.{k}.weights"]), jnp.asarray(tensors[f"{name}.{k}.bias"]))
        for k in range(n_layers)
    )
