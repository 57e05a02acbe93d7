"""Trained models: stored without code, as safetensors with a JSON header."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.generators.wgan.networks import Parameters
from logan_campaign.generators.wgan.settings import (
    ALGORITHM_VERSION,
    Hyperparameters,
    Target,
    model_id,
)
from logan_campaign.generators.wgan.step import Problem

FORMAT = "logan-campaign model"

_HEADER_KEY = "logan-campaign"


@dataclass(frozen=True, eq=False)
class LoganModel:
    """A trained generator and critic with all that is needed to use them again.

    Attributes:
        generator, critic: weights (n_in, n_out) and biases (n_out,) per layer.
        hyperparameters: as trained.
        species: atomic numbers in the training set, ascending.
        target: what it generates.
        training_set_id: set it was trained on.
        seed: seed of the training.
        steps: generator updates done.
        start_id: model whose weights the training went on from, if any.
        algorithm_version: version of the algorithm that trained it.
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
    algorithm_version: int = ALGORITHM_VERSION

    @property
    def id(self) -> str:
        """Content id of the inputs that the model was trained from."""
        return model_id(
            self.training_set_id, self.target, self.hyperparameters, self.seed, self.start_id
        )

    @property
    def problem(self) -> Problem:
        """What shapes the programs that run the model."""
        return Problem.of(self.target, self.hyperparameters, self.species)

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
            **({} if self.start_id is None else {"start_id": self.start_id}),
        }
        return write_tensors(FORMAT, header, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was trained, by name."""
        return {
            **parameter_tensors("generator", self.generator),
            **parameter_tensors("critic", self.critic),
        }

    @classmethod
    def from_bytes(cls, content: bytes) -> LoganModel:
        """Return the model that :meth:`to_bytes` wrote.

        Raises:
            ModelFileError: if the bytes are truncated, foreign or of an unknown version.
        """
        header, tensors = read_model(FORMAT, ALGORITHM_VERSION, content)
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
        """Write the model to a file, beside it first and renamed when complete."""
        write_atomically(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> LoganModel:
        """Read a model file.

        Raises:
            ModelFileError: if it is missing, truncated, foreign or of an unknown version.
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
    """Return the network whose layers are named so; KeyError if there is none."""
    n_layers = sum(key.startswith(f"{name}.") for key in tensors) // 2
    if n_layers == 0:
        raise KeyError(name)
    return tuple(
        (jnp.asarray(tensors[f"{name}.{k}.weights"]), jnp.asarray(tensors[f"{name}.{k}.bias"]))
        for k in range(n_layers)
    )


def write_tensors(kind: str, header: dict[str, Any], tensors: dict[str, np.ndarray]) -> bytes:
    """Return a safetensors file with a JSON header that says what it is."""
    # One entry: safetensors writes several in no fixed order, and equal models are equal bytes.
    text = json.dumps({"format": kind, "header": header}, sort_keys=True)
    arrays = {k: np.asarray(v, order="C") for k, v in tensors.items()}
    return save_tensors(arrays, {_HEADER_KEY: text})


def read_tensors(kind: str, content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and tensors of a file that :func:`write_tensors` made.

    Raises:
        ModelFileError: if the bytes are truncated or foreign.
    """
    found, tensors = _read(content)
    if found.get("format") != kind or "header" not in found:
        raise ModelFileError(f"the file is not a {kind}")
    return found["header"], tensors


def read_model(
    kind: str, version: int, content: bytes
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and tensors of a model's file, of the algorithm version that is current.

    Raises:
        ModelFileError: if the bytes are truncated, foreign or of another version.
    """
    header, tensors = read_tensors(kind, content)
    found = header.get("algorithm_version")
    if found != version:
        raise ModelFileError(
            f"the model file is of algorithm version {found}, this program's is "
            f"{version}: train the model anew"
        )
    return header, tensors


def file_kind(content: bytes) -> str | None:
    """Return what :func:`write_tensors` was told that a file is; None for a foreign file.

    Raises:
        ModelFileError: if the bytes are no safetensors file.
    """
    kind = _read(content)[0].get("format")
    return kind if isinstance(kind, str) else None


def _read(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        tensors = load_tensors(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        found = json.loads(metadata.get(_HEADER_KEY, "{}"))
    except (SafetensorError, ValueError) as err:
        raise ModelFileError(f"not a complete safetensors file: {err}") from err
    return (found if isinstance(found, dict) else {}), tensors


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
