"""Jobs that generate structures."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import cast

import jax
import numpy as np
from jobflow import Maker, job

from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.arrays import pack_arrays
from logan_campaign.core.documents import (
    DATA_KEYS,
    ModelDoc,
    PoolDoc,
    TrainingHistory,
    TrainingSetDoc,
)
from logan_campaign.core.ids import content_id
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.flows.stages import stage
from logan_campaign.generators import models
from logan_campaign.generators.base import ModelOfElements
from logan_campaign.geometry.structures import to_atoms


@dataclass
class GenerateMaker(Maker):
    """Generate structures with one trained model, or by a method that needs no training.

    Attributes:
        name: Name of the job.
        n_structures: Number of structures.
        seed: Seed of the latent variables, or of the random starts.
        method: Method without training; None with a model.
    """

    name: str = "generate"
    n_structures: int = 2000
    seed: int = 0
    method: models.Method | None = None

    @job(data=DATA_KEYS, output_schema=PoolDoc, metadata=stage("generate"))
    def make(
        self,
        model: ModelDoc | None,
        target: TargetGeometry,
        training: TrainingSetDoc | None = None,
    ) -> PoolDoc:
        """Return the pool; it is empty if the model's training failed.

        Args:
            model: Trained model; None for a method without training.
            target: Atoms and cell to generate.
            training: Training set, from which such a method takes volumes and space groups that
                the target leaves open; without one, volumes follow from the atoms.
        """
        generator = None
        if self.method is not None:
            model = generator = untrained(self.method, target, training)
        model = ModelDoc.model_validate(model)
        started = time.perf_counter()
        if model.state != "failed":
            enable_compilation_cache()
            trained = load_for(model, target)
            generated = trained.generate(self.n_structures, seed=self.seed)
            positions, cells = generated.positions, generated.cells
        else:
            positions = np.zeros((0, len(target.symbols), 3), np.float32)
            cells = np.zeros((0, 3, 3), np.float32)
        # a model that serves several compositions has a pool of each
        others = [target.hill_formula] if target.hill_formula != model.formula else []
        return PoolDoc(
            id=content_id("pool", [model.id, self.seed, len(positions), *others]),
            model_id=model.id,
            seed=self.seed,
            n_structures=len(positions),
            formula=target.hill_formula,
            symbols=target.symbols,
            kind=target.kind,
            elapsed_s=time.perf_counter() - started,
            generator=generator,
            pool=pack_arrays({"positions": positions, "cell": cells}),
        )


def untrained(
    method: models.Method, target: TargetGeometry, training: TrainingSetDoc | None
) -> ModelDoc:
    """Return the document of a generator that learns nothing.

    Raises:
        InputError: the training set does not determine what the target leaves open.
    """
    entries = [] if training is None else TrainingSetDoc.model_validate(training).structures
    wanted = target.to_gan([to_atoms(entry.structure) for entry in entries])
    model = method.train([], wanted, seed=0, training_set_id="").model
    assert model is not None  # nothing that could fail
    return ModelDoc(
        id=model.id,
        index=0,
        state="untrained",
        reason="",
        training_set_id=None,
        algorithm_version=method.algorithm_version,
        seed=0,
        formula=target.hill_formula,
        hyperparameters=method.model_dump(mode="json"),
        steps=0,
        history=TrainingHistory(**{name: [] for name in TrainingHistory.model_fields}),
        elapsed_s=0.0,
        device=jax.default_backend(),
        weights=base64.b64encode(model.to_bytes()).decode("ascii"),
    )


def load_for(document: ModelDoc, target: TargetGeometry) -> models.Model:
    """Return a trained model, for the atoms of a target if it serves all compositions.

    Raises:
        InputError: no Wyckoff positions of the model's space groups fit the atoms.
        ModelFileError: the model is damaged, or of another version of the algorithm.
    """
    model = models.load(base64.b64decode(document.weights))
    wanted = tuple(int(z) for z in target.numbers)
    if model.target.numbers == wanted:
        return model
    return cast(ModelOfElements, model).for_target(target.to_gan(like=model.target))
