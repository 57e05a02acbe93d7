"""Input, output and base class of selection strategies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from ase import Atoms
from pydantic import Field

from logan_campaign.core.documents import Geometry, TargetKind, marked
from logan_campaign.core.errors import InputError
from logan_campaign.core.settings import SpecModel
from logan_campaign.descriptors import structure_descriptors
from logan_campaign.descriptors.settings import (
    CutoffRadius,
    NeighbourCount,
    RadialBasis,
    RadialOrder,
)
from logan_campaign.geometry.structures import from_atoms

if TYPE_CHECKING:
    from logan_campaign.generators.base import Model


class DescriptorSettings(SpecModel):
    """Structure descriptor (paper eq. 8) by which strategies compare structures.

    The defaults are those of the paper's filtering step, independent of the models.
    """

    radial: RadialBasis = "bessel"
    r_cut: CutoffRadius = 5.0
    n_max: RadialOrder = 4
    n_neighbour: NeighbourCount = 20


@dataclass
class Pool:
    """The structures to select from: all have the same atoms.

    Attributes:
        numbers: (n_atoms,) atomic numbers.
        positions: (n, n_atoms, 3) Å.
        cells: (n, 3, 3) lattice vectors as rows (Å).
        periodic: crystals, or molecules in a box.
        group: (n,) index of the model that generated each.
        training: training set, for strategies that use it.
        models: the ensemble, for strategies that use its critics.
        workdir: folder for the files of cheap relaxations.
        fixed_cell: whether the cell was given.
        marks: what the structures state besides their atoms, such as a charge.
    """

    numbers: np.ndarray
    positions: np.ndarray
    cells: np.ndarray
    periodic: bool
    group: np.ndarray
    training: Sequence[Geometry] = ()
    models: Sequence[Model] = ()
    workdir: Path = Path()
    fixed_cell: bool = True
    marks: Mapping[str, Any] = field(default_factory=dict)
    _computed: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def kind(self) -> TargetKind:
        """Kind of the structures."""
        return "crystal" if self.periodic else "molecule"

    def descriptors(self, settings: DescriptorSettings) -> np.ndarray:
        """Return the (n, n_features) structure descriptors; computed once per settings."""
        key = settings.model_dump_json()
        if key not in self._computed:
            self._computed[key] = structure_descriptors(
                self.positions,
                self.cells,
                self.numbers,
                periodic=self.periodic,
                species=sorted(set(self.numbers.tolist())),
                **settings.model_dump(),
            )
        return self._computed[key]

    def critic_scores(self) -> np.ndarray:
        """Return the scores (n, n_models) of each model's critic, computed once.

        Lower looks more real; scales differ between critics.
        """
        if "critics" not in self._computed:
            self._computed["critics"] = np.stack(
                [model.scores(self.positions, self.cells) for model in self.models], axis=1
            )
        return self._computed["critics"]

    def atoms(self, row: int) -> Atoms:
        """Return one structure."""
        if self.periodic:
            return Atoms(self.numbers, self.positions[row], cell=self.cells[row], pbc=True)
        return Atoms(self.numbers, np.asarray(self.positions[row], dtype=float))

    def structure(self, row: int) -> Geometry:
        """Return one structure with its marks, for relaxations."""
        return marked(from_atoms(self.atoms(row)), **self.marks)

    def take(self, rows: np.ndarray) -> Pool:
        """Return a subset of the structures as a pool."""
        return replace(
            self,
            positions=self.positions[rows],
            cells=self.cells[rows],
            group=self.group[rows],
            _computed={key: values[rows] for key, values in self._computed.items()},
        )

    def moved(self, starts: dict[int, Atoms]) -> Pool:
        """Return a pool with some structures replaced, by row."""
        if not starts:
            return self
        positions = np.array(self.positions, dtype=np.float64)
        cells = np.array(self.cells, dtype=np.float64)
        for row, atoms in starts.items():
            positions[row] = atoms.positions
            if self.periodic:
                cells[row] = atoms.cell.array
        return replace(self, positions=positions, cells=cells, _computed={})


@dataclass
class CheapRelaxations:
    """Cheap relaxations of a strategy."""

    level: str
    n: int = 0
    n_converged: int = 0
    cpu_s: float = 0.0


@dataclass
class Selection:
    """The picks, in order, and the structures that they represent.

    ``n`` is the number of structures to choose from, ``k`` the number of picks.
    """

    indices: np.ndarray
    """(k,) indices of the picked structures."""
    clusters: np.ndarray
    """(k,) cluster of each pick; clusters are numbered in the order of the picks."""
    represents: np.ndarray
    """(k,) number of structures that each pick represents, itself included."""
    labels: np.ndarray
    """(n,) cluster of every structure, -1 for none."""
    strategies: list[str] = field(default_factory=list)
    """(k,) strategy of each pick, several joined by ' > '."""
    keys: list[str | None] = field(default_factory=list)
    """(k,) graph or net that each pick represents, None if it represents a cluster."""
    pca: np.ndarray | None = None
    """(n, n_components) position of every structure in the map, or NaN."""
    explained_variance: list[float] = field(default_factory=list)
    """Fraction of the variance per component of the map."""
    n_unusable: dict[str, int] = field(default_factory=dict)
    """Number of skipped structures by reason."""
    starts: dict[int, Atoms] = field(default_factory=dict)
    """Symmetrized or cheaply relaxed structures by index, used instead of the generated ones."""
    cheap: list[CheapRelaxations] = field(default_factory=list)
    """Cheap relaxations of the strategies."""

    @classmethod
    def of(
        cls,
        strategy: str,
        indices: Sequence[int] | np.ndarray,
        labels: np.ndarray,
        keys: Sequence[str | None] | None = None,
        **more: Any,
    ) -> Selection:
        """Return the selection in which pick ``i`` represents all structures labelled ``i``."""
        k = len(indices)
        return cls(
            indices=np.asarray(indices, dtype=int),
            clusters=np.arange(k),
            represents=np.bincount(labels[labels >= 0], minlength=k),
            labels=labels,
            strategies=[strategy] * k,
            keys=list(keys) if keys is not None else [None] * k,
            **more,
        )


class MapSettings(NamedTuple):
    """What the map that people look at is made of; the defaults are the paper's."""

    n_components: int = 2
    standardise: bool = False
    descriptor: DescriptorSettings = DescriptorSettings()


class SelectionBase(SpecModel, ABC):
    """Settings of one strategy; subclasses add a literal ``strategy``.

    Plugins name theirs in the entry-point group ``logan_campaign.strategies``.
    """

    #: Supported kinds of target.
    kinds: ClassVar[tuple[TargetKind, ...]] = ("molecule", "crystal")
    #: Whether it needs the training set, and the trained models.
    needs_training: ClassVar[bool] = False
    needs_models: ClassVar[bool] = False

    strategy: str = Field(description="Name of the strategy")
    n_picks: int = Field(
        20, ge=1, le=100_000, description="Structures to pick (per group if 'per_model')"
    )

    @abstractmethod
    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick structures; the same pool and seed give the same picks.

        Raises:
            InputError: there is nothing to pick from.
        """

    def check(self, species: Sequence[str], kind: TargetKind) -> None:
        """Check the strategy before any job runs.

        Raises:
            InputError: the strategy cannot work; one line.
        """
        if kind not in self.kinds:
            name = self.strategy
            raise InputError(f"select: '{name}' is for {self.kinds[0]}s; the target is a {kind}")

    def check_learning(self, has_training: bool, trains: bool) -> None:
        """Check that there is what the strategy learns from.

        Args:
            has_training: whether there is a training set.
            trains: whether there are trained models.

        Raises:
            InputError: the strategy needs what is not there; one line.
        """
        if self.needs_training and not has_training:
            raise InputError(f"select: '{self.strategy}' needs a training set; use 'diverse'")
        if self.needs_models and not trains:
            raise InputError(f"select: '{self.strategy}' needs trained models; use 'diverse'")

    def map_settings(self) -> MapSettings:
        """Return what the map of the pool is made of."""
        return MapSettings()

    def learned(self, training: Sequence[Geometry]) -> str:
        """Return what the strategy has learned from the training set, for people; '' if nothing."""
        return ""
