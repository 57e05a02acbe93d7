"""Random structures: the chance level of generation, and a start where nothing is known.

Crystals get a space group, drawn evenly from those that fit, Wyckoff positions (PyXtal's tables)
and random coordinates. Molecules are random graphs with the usual valences, embedded by RDKit.
PyXtal's own generator is not used: it takes no given primitive cell, and in a group with little
room it tries for half a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import ValidationError

from logan_campaign.core.errors import InputError, ModelFileError
from logan_campaign.core.model_files import read_model, write_tensors
from logan_campaign.generators.cells import check_symmetry, post_processing
from logan_campaign.generators.cells.lattices import STRAIN_SPREAD, STRAINS, bounded, strained
from logan_campaign.generators.cells.symmetric import placed, projector
from logan_campaign.generators.descent.graphs import any_molecule, embed
from logan_campaign.generators.pools import GeneratedPool, collect
from logan_campaign.generators.random.settings import RandomStructures
from logan_campaign.generators.target import Symmetry, Target
from logan_campaign.geometry.lattice import reduced_cell
from logan_campaign.geometry.neighbours import find_bonds
from logan_campaign.geometry.spacegroups import (
    Assignment,
    PrimitiveGroup,
    assignments,
    primitive_group,
    settings_in,
)

#: Structures of one block, of atoms at random places.
_BLOCK = 32

#: Graphs to draw for one molecule, until RDKit finds coordinates.
_GRAPHS = 50

#: Shortest distances are compared up to this multiple of the sum of covalent radii.
_FAR = 1.5


@dataclass(frozen=True, eq=False)
class RandomModel:
    """A generator of random structures.

    Attributes:
        settings: all settings.
        target: atoms and cell to generate.
    """

    settings: RandomStructures
    target: Target
    _known: dict[int, tuple[list[Assignment], list[np.ndarray]]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def id(self) -> str:
        """Content id of settings and target."""
        return self.settings.model_id("", self.target, 0)

    def for_target(self, target: Target) -> RandomModel:
        """Return the generator for other atoms."""
        return replace(self, target=target)

    def generate(self, n: int, *, seed: int) -> GeneratedPool:
        """Return ``n`` structures; the first ones are the same for every ``n``.

        Raises:
            InputError: ``n`` is negative, or no molecule can be embedded.
        """
        if self._has_graphs:
            return collect(self.target, n, 1, lambda block, _: self._molecule([seed, block]))
        if self.target.periodic and not self.target.given:
            return collect(self.target, n, 1, lambda block, _: self._crystal([seed, block]))
        key = jax.random.key(seed % 2**63)
        return collect(
            self.target, n, _BLOCK, lambda block, _: self._placed(jax.random.fold_in(key, block))
        )

    @cached_property
    def _has_graphs(self) -> bool:
        target = self.target
        if target.periodic or target.cluster or target.given:
            return False
        # radicals and most ions have no graph with the usual valences
        return any_molecule(np.array(target.numbers), np.random.default_rng(0)) is not None

    def _molecule(self, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        rng, numbers = np.random.default_rng(seed), np.array(self.target.numbers)
        for _ in range(_GRAPHS):
            graph = any_molecule(numbers, rng)
            found = None if graph is None else embed(graph, int(rng.integers(2**31)))
            if found is not None:
                positions = np.empty((1, len(numbers), 3))
                # graphs have their atoms by atomic number
                positions[0, np.argsort(numbers, kind="stable")] = found
                box = self.target.cell_array
                return positions + box.sum(axis=0) / 2, box[None]
        raise InputError("RDKit finds no coordinates for random molecules of this composition")

    def _crystal(self, seed: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and cell of one crystal, the best of several tries."""
        target, tries, rng = self.target, self.settings.tries, np.random.default_rng(seed)
        group, way, change = self._sites(rng)
        site, maps, shifts = placed(target, self._kinds, group, way, change)
        if target.lattice == "fixed":
            vectors = reduced_cell(target.cell_array)
        else:
            strain = projector(group) @ (STRAIN_SPREAD * rng.normal(size=len(STRAINS)))
            low, high = target.volumes or (0.0, 0.0)
            volume = np.array([rng.uniform(low, high) * len(target.numbers)])
            drawn = strained(group.cell[None], bounded(jnp.asarray(strain[None])), volume)
            vectors = np.asarray(drawn, dtype=float)[0]
        own = rng.uniform(size=(tries, len(way), 3))[:, site]
        places = (np.einsum("nij,tnj->tni", maps, own) + shifts) @ vectors
        cell = target.cell_array if target.lattice == "fixed" else reduced_cell(vectors)
        best = self._shortest(places, np.broadcast_to(cell, (tries, 3, 3))).argmax()
        return (places[best] @ np.linalg.inv(cell) % 1.0 @ cell)[None], cell[None]

    @cached_property
    def _kinds(self) -> np.ndarray:
        return np.unique(self.target.numbers)

    def _sites(self, rng: np.random.Generator) -> tuple[PrimitiveGroup, Assignment, np.ndarray]:
        """Draw a space group that fits, Wyckoff positions for the atoms, and a setting."""
        symmetry = self.target.symmetry or Symmetry(tuple((n, 1.0) for n in range(1, 231)), 20)
        numbers, weights = map(np.array, zip(*symmetry.groups, strict=True))
        # each in vain leaves the others; in the end, P1 or nothing
        for number in rng.choice(numbers, len(numbers), replace=False, p=weights / weights.sum()):
            ways, changes = self._possible(int(number), symmetry.max_assignments)
            if ways and changes:
                chosen = ways[rng.integers(len(ways))], changes[rng.integers(len(changes))]
                return primitive_group(int(number)), *chosen
        check_symmetry(self.target)
        raise InputError("no space group has Wyckoff positions for the target's atoms")

    def _possible(self, number: int, limit: int) -> tuple[list[Assignment], list[np.ndarray]]:
        if number not in self._known:
            group, counts = primitive_group(number), np.unique_counts(self.target.numbers).counts
            changes = [np.eye(3)]
            if self.target.lattice == "fixed":
                changes = settings_in(group, reduced_cell(self.target.cell_array))
            self._known[number] = assignments(group, counts.tolist(), limit), changes
        return self._known[number]

    def _placed(self, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and cells of a block, each the best of several tries."""
        tries = self.settings.tries
        positions, cells = map(np.asarray, self._draw(key))
        cells = np.broadcast_to(cells, (len(positions), 3, 3))
        shortest = self._shortest(positions, cells).reshape(_BLOCK, tries)
        rows = np.arange(_BLOCK) * tries + shortest.argmax(axis=1)
        return positions[rows], cells[rows]

    @cached_property
    def _draw(self) -> jax.stages.Wrapped:
        place, n = post_processing(self.target), _BLOCK * self.settings.tries

        def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            first, second = jax.random.split(key)
            drawn = jax.random.normal(first, (n, place.n_drawn), jnp.float32)
            return place(place.initial_outputs(second, n), drawn)

        return jax.jit(draw)

    def _shortest(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return (n,) the shortest distances, in sums of covalent radii."""
        numbers = np.array(self.target.numbers)
        near = find_bonds(numbers, positions, cells if self.target.periodic else None, _FAR)
        shortest = np.full(len(positions), _FAR)
        np.minimum.at(shortest, near.structure, near.ratio)
        return shortest

    def scores(self, positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Refuse: nothing was learned to score by.

        Raises:
            InputError: always.
        """
        raise InputError("the method 'random' has no scores")

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing: nothing was trained."""
        return {}

    def to_bytes(self) -> bytes:
        """Return settings and target as the contents of a file."""
        header = {
            "settings": self.settings.model_dump(mode="json"),
            "target": self.target.as_dict(),
            "algorithm_version": self.settings.algorithm_version,
        }
        return write_tensors(RandomStructures.file_format, header, {})

    @classmethod
    def from_bytes(cls, content: bytes) -> RandomModel:
        """Return the generator in the bytes of :meth:`to_bytes`.

        Raises:
            ModelFileError: the bytes are truncated, foreign or of an unknown version.
        """
        header, _ = read_model(
            RandomStructures.file_format, RandomStructures.algorithm_version, content
        )
        try:
            settings = RandomStructures.model_validate(header["settings"])
            return cls(settings, Target(**header["target"]))
        except (KeyError, TypeError, ValueError, ValidationError, InputError) as err:
            raise ModelFileError(f"the file's header is incomplete: {err!r}") from err
