"""Jobs that generate structures."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import cast

import numpy as np
from jobflow import Maker, job

from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.arrays import pack_arrays
from logan_campaign.core.documents import DATA_KEYS, ModelDoc, PoolDoc
from logan_campaign.core.ids import content_id
from logan_campaign.flows.stages import stage
from logan_campaign.generators import models
from logan_campaign.generators.base import ModelOfElements
from logan_campaign.generators.cache import enable_compilation_cache


@dataclass
class GenerateMaker(Maker):
    """Generate structures with one trained model.

    Attributes:
        name: Name of the job.
        n_structures: Number of structures.
        seed: Seed of the latent variables, or of the random starts.
    """

    name: str = "generate"
    n_structures: int = 2000
    seed: int = 0

    @job(data=DATA_KEYS, output_schema=PoolDoc, metadata=stage("generate"))
    def make(self, model: ModelDoc, target: TargetGeometry) -> PoolDoc:
        """Return the pool; it is empty if the model's training failed."""
        model = ModelDoc.model_validate(model)
        started = time.perf_counter()
        if model.state == "trained":
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
            pool=pack_arrays({"positions": positions, "cell": cells}),
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
