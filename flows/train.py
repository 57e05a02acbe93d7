"""Jobs that train the ensemble."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

import jax
from ase import Atoms
from jobflow import Maker, job

from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.documents import DATA_KEYS, ModelDoc, TrainingHistory, TrainingSetDoc
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.flows.stages import stage
from logan_campaign.generators import models
from logan_campaign.geometry.structures import to_atoms

#: Checkpoint in the job's folder, from which a job that was killed continues.
CHECKPOINT = Path("checkpoint.safetensors")


@dataclass
class TrainMaker(Maker):
    """Train one member of the ensemble.

    Attributes:
        name: Name of the job.
        hyperparameters: All hyperparameters.
        seed: Seed of weights, rattling, resampling and latent variables.
        index: Index in the ensemble, from 0.
        round: Round of the campaign, from 0.
        of_elements: Whether the model serves all compositions of the target's elements.
    """

    name: str = "train"
    hyperparameters: models.Method = field(default_factory=lambda: models.settings_from({}))
    seed: int = 0
    index: int = 0
    round: int = 0
    of_elements: bool = False

    @job(data=DATA_KEYS, output_schema=ModelDoc, metadata=stage("train"))
    def make(
        self,
        training_set: TrainingSetDoc,
        target: TargetGeometry,
        start: ModelDoc | None = None,
    ) -> ModelDoc:
        """Return the trained model, or the record of its failure.

        Args:
            training_set: Training set.
            target: Atoms and cell to generate.
            start: Model to continue from; if that is impossible (it failed, or the training
                set has a new element), training starts from new weights.

        Raises:
            InputError: the training set does not cover the target's species.
        """
        training_set = TrainingSetDoc.model_validate(training_set)
        enable_compilation_cache()
        # sorted: results must not depend on the order of the set
        entries = sorted(training_set.structures, key=lambda entry: entry.id)
        structures = [to_atoms(entry.structure) for entry in entries]
        begin = self._start(start, structures, target)
        like = None if begin is None else begin.target
        wanted = target.to_gan(structures, like, check=not self.of_elements)
        result = self.hyperparameters.train(
            structures,
            wanted,
            seed=self.seed,
            training_set_id=training_set.id,
            start=begin,
            checkpoint=CHECKPOINT,
        )
        start_id = None if begin is None else begin.id
        weights = result.model.to_bytes() if result.model is not None else b""
        return ModelDoc(
            id=self.hyperparameters.model_id(training_set.id, wanted, self.seed, start_id),
            index=self.index,
            round=self.round,
            start_id=start_id,
            state=result.state,
            reason=result.reason,
            training_set_id=training_set.id,
            algorithm_version=self.hyperparameters.algorithm_version,
            seed=self.seed,
            formula=target.hill_formula,
            hyperparameters=self.hyperparameters.model_dump(mode="json"),
            steps=result.steps,
            history=TrainingHistory.model_validate(result.history),
            elapsed_s=result.elapsed_s,
            device=jax.default_backend(),
            weights=base64.b64encode(weights).decode("ascii"),
        )

    def _start(
        self, start: ModelDoc | None, structures: list[Atoms], target: TargetGeometry
    ) -> models.Model | None:
        if start is None:
            return None
        document = ModelDoc.model_validate(start)
        if document.state != "trained":
            return None
        model = models.load(base64.b64decode(document.weights))
        wanted = target.to_gan(structures, model.target)
        fits = self.hyperparameters.can_start(model, structures, wanted)
        return model if fits else None
