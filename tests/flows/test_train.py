"""Training jobs: one id, one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from logan_campaign.campaign.target import TargetGeometry
from logan_campaign.core.documents import ModelDoc, TrainingSetDoc
from logan_campaign.flows.data import TrainingSetMaker
from logan_campaign.flows.train import TrainMaker
from logan_campaign.generators.wgan import Hyperparameters
from logan_campaign.sources import SmilesSource

TARGET = TargetGeometry(
    kind="molecule", symbols=["H"] * 4 + ["C", "O"], cell=((5, 0, 0), (0, 5, 0), (0, 0, 5))
)
TINY = Hyperparameters(steps=2, n_max=1, n_neighbour=3, rattle_copies=2)


def trained(smiles: list[str]) -> ModelDoc:
    source = SmilesSource(smiles=smiles, relax=False)
    found = TrainingSetMaker.make.original(TrainingSetMaker(source=source))
    assert isinstance(found, TrainingSetDoc)
    return TrainMaker.make.original(TrainMaker(hyperparameters=TINY, seed=1), found, TARGET)


def test_the_order_of_the_training_set_changes_neither_id_nor_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = []
    for name, smiles in (("one", ["CCO", "COC"]), ("other", ["COC", "CCO"])):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        models.append(trained(smiles))
    one, other = models
    assert one.id == other.id
    assert one.weights == other.weights
