"""Models of descent: reference environments, stored as safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from pydantic import ValidationError

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.core.model_files import read_model, write_tensors
from logan_campaign.generators.descent.exchange import Family
from logan_campaign.generators.descent.program import BLOCK, Problem, program_for
from logan_campaign.generators.descent.reference import SpeciesReference, fit
from logan_campaign.generators.descent.settings import DescentHyperparameters
from logan_campaign.generators.environments import training_species
from logan_campaign.generators.pools import GeneratedPool, collect, judge, model_arrays
from logan_campaign.generators.target import Target


@dataclass(frozen=True, eq=False)
class DescentModel:
    """A model of descent.

    Attributes:
        references: environments of each species of the target, by ascending atomic number.
        hyperparameters: all hyperparameters.
        species: atomic numbers in the training set, ascending.
        target: atoms and cell to generate.
        training_set_id: id of the training set.
        seed: seed for rattling and choice of environments.
        algorithm_version: version of the algorithm.
    """

    references: tuple[SpeciesReference, ...]
    hyperparameters: DescentHyperparameters
    species: tuple[int, ...]
    target: Target
    training_set_id: str
    seed: int
    algorithm_version: int = DescentHyperparameters.algorithm_version

    @classmethod
    def fit(
        cls,
        structures: Sequence[Atoms],
        target: Target,
        hyperparameters: DescentHyperparameters,
        *,
        seed: int,
        training_set_id: str,
    ) -> DescentModel:
        """Return the model of a training set; see :func:`fit`.

        Raises:
            InputError: structures or target are unusable.
        """
        hyperparameters.check(target.numbers, target.periodic)
        references = fit(structures, target, hyperparameters, seed=seed)
        species = training_species(structures, target)
        return cls(references, hyperparameters, species, target, training_set_id, seed)

    @property
    def id(self) -> str:
        """Content id of the inputs."""
        return self.hyperparameters.model_id(self.training_set_id, self.target, self.seed)

    def for_target(self, target: Target) -> DescentModel:
        """Return the model for other atoms of its elements, whose environments are the same.

        Args:
            target: with the range of volumes of this model's target.
        """
        species = sorted(set(self.target.numbers))
        kept = [self.references[species.index(z)] for z in sorted(set(target.numbers))]
        return replace(self, references=tuple(kept), target=target)

    @property
    def problem(self) -> Problem:
        """The problem that defines the model's compiled program."""
        return Problem(self.target, self.hyperparameters, self.species)

    def generate(self, n: int, *, seed: int) -> GeneratedPool:
        """Return ``n`` structures; the first ones are the same for every ``n``.

        Args:
            n: number of structures.
            seed: seed of the random starts.

        Raises:
            InputError: ``n`` is negative.
        """
        program = program_for(self.problem)
        system = program.with_references(self.references)
        key = jax.random.key(seed % 2**63)
        family = Family(np.array(self.target.numbers), self.hyperparameters.exchange, seed)

        def draw(block: int, start: int) -> tuple[np.ndarray, np.ndarray]:
            begun = family.starts(block, BLOCK)
            if begun is None:
                found = program.block(system, jax.random.fold_in(key, block))
            else:
                found = program.again(system, begun)
            if self.hyperparameters.exchange:
                family.add(found[0], self.scores(*found))
            return found

        return collect(self.target, n, program.n_kept, draw)

    def scores(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the misfit of each structure to the training set; lower is better.

        Args:
            positions: (n, N, 3) of the target's atoms (Å).
            cells: (n, 3, 3) or (3, 3) lattice vectors (Å), as the model generates them.

        Returns:
            Array of shape (n,).

        Raises:
            InputError: the shapes do not match, or crystals have a different cell.
        """
        program = program_for(self.problem)
        system = program.with_references(self.references)
        positions, each = model_arrays(
            self.target, program.images, program.descriptor.r_cut, positions, cells
        )
        bandwidth = self.hyperparameters.last_bandwidth
        return judge(positions, each, BLOCK, lambda p, c: program.misfit(system, p, c, bandwidth))

    def to_bytes(self) -> bytes:
        """Return the model as the contents of a safetensors file."""
        header = {
            "hyperparameters": self.hyperparameters.model_dump(mode="json"),
            "species": list(self.species),
            "target": self.target.as_dict(),
            "training_set_id": self.training_set_id,
            "seed": self.seed,
            "algorithm_version": self.algorithm_version,
        }
        return write_tensors(DescentHyperparameters.file_format, header, self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of the references by name."""
        return {
            f"{name}.{k}": np.asarray(array)
            for k, reference in enumerate(self.references)
            for name, array in reference._asdict().items()
        }

    @classmethod
    def from_bytes(cls, content: bytes) -> DescentModel:
        """Return the model in the bytes of :meth:`to_bytes`.

        Raises:
            ModelFileError: the bytes are truncated, not a model, or of an unknown version.
        """
        header, tensors = read_model(
            DescentHyperparameters.file_format, DescentHyperparameters.algorithm_version, content
        )
        try:
            target = Target(**header["target"])
            return cls(
                references=tuple(
                    SpeciesReference(
                        *(jnp.asarray(tensors[f"{n}.{k}"]) for n in SpeciesReference._fields)
                    )
                    for k in range(len(set(target.numbers)))
                ),
                hyperparameters=DescentHyperparameters.model_validate(header["hyperparameters"]),
                species=tuple(int(z) for z in header["species"]),
                target=target,
                training_set_id=str(header["training_set_id"]),
                seed=int(header["seed"]),
            )
        except (KeyError, TypeError, ValueError, ValidationError, InputError) as err:
            raise ModelFileError(f"the model file's header is incomplete: {err!r}") from err
