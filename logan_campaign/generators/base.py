"""What every method of generation takes and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field

from logan_campaign.core.documents import TrainingHistory
from logan_campaign.core.ids import content_id
from logan_campaign.core.settings import SpecModel

if TYPE_CHECKING:  # specs are checked without JAX
    import numpy as np
    from ase import Atoms

    from logan_campaign.generators.pools import GeneratedPool
    from logan_campaign.generators.target import Target

#: Keys of a training's history, :class:`logan_campaign.core.documents.TrainingHistory`.
HISTORY_KEYS = tuple(TrainingHistory.model_fields)


class Model(Protocol):
    """A trained model."""

    @property
    def id(self) -> str:
        """Content id of the inputs that the model follows from."""

    @property
    def target(self) -> Target:
        """What it generates."""

    def generate(self, n: int, *, seed: int) -> GeneratedPool:
        """Return ``n`` structures; the first ones are the same for every ``n``.

        Raises:
            InputError: if ``n`` is negative.
        """

    def scores(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return (n,) what the model says of structures; lower looks more real.

        Args:
            positions: (n, N, 3) of the target's atoms (Å).
            cells: (n, 3, 3) or (3, 3) cell vectors (Å).

        Raises:
            InputError: if the shapes do not fit or crystals have another cell.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was trained, by name."""

    def to_bytes(self) -> bytes:
        """Return the contents of a file that :meth:`Method.load` reads."""


class ModelOfElements(Model, Protocol):
    """A model that serves all compositions of its elements."""

    def for_target(self, target: Target) -> Model:
        """Return the model for other atoms of its elements."""


AnyModel = TypeVar("AnyModel", bound=Model, covariant=True)


@dataclass(frozen=True)
class TrainingResult(Generic[AnyModel]):
    """What came out of a training.

    Attributes:
        model: the trained model; None if the training failed.
        history: lists of one length, by :data:`HISTORY_KEYS`.
        state: 'trained' or 'failed'.
        reason: why it failed and what to do; empty if it did not.
        steps: generator updates done.
        elapsed_s: wall time, earlier parts of a continued training included (s).
    """

    model: AnyModel | None
    history: dict[str, list[Any]]
    state: Literal["trained", "failed"]
    reason: str
    steps: int
    elapsed_s: float


class Method(SpecModel, ABC):
    """Settings of one method of generation; subclasses add a literal ``method``."""

    model_config = ConfigDict(frozen=True)

    #: What :func:`logan_campaign.core.model_files.write_tensors` calls the method's files.
    file_format: ClassVar[str]
    #: Raised by hand whenever the same inputs give other results.
    algorithm_version: ClassVar[int]

    #: Whether models are those of :class:`ModelOfElements`.
    any_composition: ClassVar[bool] = False

    #: Whether there is anything to train; if not, :meth:`train` takes no structures.
    needs_training: ClassVar[bool] = True

    method: str = Field(description="How structures are made")

    @abstractmethod
    def train(
        self,
        structures: Sequence[Atoms],
        target: Target,
        *,
        seed: int,
        training_set_id: str,
        start: Model | None = None,
        checkpoint: Path | None = None,
    ) -> TrainingResult[Model]:
        """Train one model.

        Args:
            structures: training set, periodic where their ``pbc`` says so.
            target: atoms and cell to generate.
            seed: of every random choice.
            training_set_id: id of ``structures``, kept in the model.
            start: model to go on from, see :meth:`can_start`; None for a fresh one.
            checkpoint: file to continue from if it fits and to write now and then, where the
                method takes long enough to need one.

        Raises:
            InputError: for structures, a target or a start that cannot be used.
        """

    @classmethod
    @abstractmethod
    def load(cls, content: bytes) -> Model:
        """Return the model in the contents of a file.

        Raises:
            ModelFileError: if the bytes are truncated, foreign or of an unknown version.
        """

    def can_start(self, start: Model, structures: Sequence[Atoms], target: Target) -> bool:
        """Return whether a training can go on from a model; never, unless a method says so."""
        return False

    def check(self, elements: Collection[object], periodic: bool) -> None:
        """Check that the settings suit a target.

        Args:
            elements: of the target's atoms, by symbol or number.
            periodic: whether the target is a crystal.

        Raises:
            InputError: if they do not.
        """
        return

    def identity(self, varied: Collection[str] = ()) -> dict[str, Any]:
        """Return what the structures depend on, for ids.

        Args:
            varied: names of the settings that differ between members.
        """
        return self.model_dump(mode="json")

    def model_id(
        self, training_set_id: str, target: Target, seed: int, start_id: str | None = None
    ) -> str:
        """Return the id of the model that these inputs and this algorithm version train.

        Args:
            training_set_id: set that is trained on.
            target: atoms and cell to generate.
            seed: of the training.
            start_id: model whose weights the training went on from; None for fresh weights.
        """
        inputs = {
            "training_set_id": training_set_id,
            "target": target.as_dict(),
            "hyperparameters": self.identity(),
            "seed": int(seed),
            "algorithm_version": self.algorithm_version,
            "start_id": start_id,
        }
        return content_id("model", inputs)
