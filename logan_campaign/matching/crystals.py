"""Whether two crystals are the same, by pymatgen's StructureMatcher.

The matcher decides; what surrounds it saves work. Every structure is reduced once
(Niggli, then primitive, as the matcher itself would) and kept under its content hash, and
only structures with equal exact keys (reduced composition, number of sites after that
reduction) are compared: with unequal keys the matcher always says no.

The matcher's answer can depend on which structure comes first, so pairs are always put
to it in the order of their content hashes; and since matching is not transitive, groups
are formed by leaders taken in that order too. Any order of input gives the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from logan_campaign.matching.spec import Tolerance
from logan_campaign.schemas import StructureEntry
from logan_campaign.structures import structure_id

#: Named tolerances: fractional length, site (in mean free length per atom), angle (degrees).
TOLERANCES: dict[Tolerance, tuple[float, float, float]] = {
    "strict": (0.1, 0.1, 3.0),
    "default": (0.2, 0.3, 5.0),
    "loose": (0.3, 0.5, 10.0),
}


class CrystalMatch(NamedTuple):
    """A known entry that a structure equals."""

    entry: StructureEntry
    rms: float
    """Root mean square distance of the sites over (volume per atom)^(1/3)."""
    rms_angstrom: float
    """The same in Å: at the geometric mean of the two volumes per atom, on which
    StructureMatcher lays both crystals."""


class Distance(NamedTuple):
    """How far two crystals that match are apart."""

    rms: float
    """Normalised, as in :class:`CrystalMatch`."""
    rms_angstrom: float
    """In Å."""


class _Reduced(NamedTuple):
    id: str
    key: tuple[str, int]
    structure: Structure


class CrystalMatcher:
    """Compares crystals at one named tolerance; keeps every reduction it has done.

    Args:
        tolerance: ``strict``, ``default`` (pymatgen's) or ``loose``.
        share: another matcher, whose reductions (which no tolerance enters) are used too.
    """

    def __init__(
        self, tolerance: Tolerance = "default", share: CrystalMatcher | None = None
    ) -> None:
        ltol, stol, angle_tol = TOLERANCES[tolerance]
        self.tolerance = tolerance
        self._matcher = StructureMatcher(
            ltol=ltol, stol=stol, angle_tol=angle_tol, primitive_cell=True, scale=True
        )
        # The structures that reach it are reduced already: only Niggli is repeated, cheaply.
        self._measure = StructureMatcher(
            ltol=ltol, stol=stol, angle_tol=angle_tol, primitive_cell=False, scale=True
        )
        self._reduced: dict[str, _Reduced] = {} if share is None else share._reduced

    def key(self, structure: Structure) -> tuple[str, int]:
        """Return reduced formula and number of sites of the primitive reduced cell."""
        return self._prepare(structure).key

    def distance(self, first: Structure, second: Structure) -> Distance | None:
        """Return the rms distance of two crystals, or None if they differ."""
        return self._compare(self._prepare(first), self._prepare(second))

    def same(self, first: Structure, second: Structure) -> bool:
        """Tell whether two crystals are the same within the tolerance."""
        return self._fit(self._prepare(first), self._prepare(second))

    def match(self, structure: Structure, entries: Sequence[StructureEntry]) -> CrystalMatch | None:
        """Return the entry that ``structure`` equals, the nearest if several, else None.

        Nearest is the smallest rms distance, then the lowest entry id.
        """
        found = self.matches(structure, entries)
        return found[0] if found else None

    def matches(
        self, structure: Structure, entries: Sequence[StructureEntry]
    ) -> list[CrystalMatch]:
        """Return every entry that ``structure`` equals, nearest first."""
        prepared = self._prepare(structure)
        found = []
        for entry in entries:
            if not isinstance(entry.structure, Structure):
                continue
            # A cell never reduces to a number of sites that does not divide its own.
            if len(entry.structure) % prepared.key[1]:
                continue
            distance = self._compare(prepared, self._prepare(entry.structure, entry.id))
            if distance is not None:
                found.append(CrystalMatch(entry, *distance))
        return sorted(found, key=lambda match: (match.rms, match.entry.id))

    def group(
        self, structures: Sequence[Structure], ids: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Group equal structures; return lists of indices, each with its leader first.

        Leaders are taken in the order of ``ids`` (by default the content hashes), so that
        the groups do not depend on the order of input; a structure joins the first leader
        that it matches.
        """
        prepared = [self._prepare(structure) for structure in structures]
        names = [item.id for item in prepared] if ids is None else list(ids)
        if len(names) != len(prepared):
            raise ValueError("one id per structure is needed")
        groups: list[list[int]] = []
        for index in sorted(range(len(prepared)), key=lambda i: (names[i], prepared[i].id, i)):
            for members in groups:
                if self._fit(prepared[members[0]], prepared[index]):
                    members.append(index)
                    break
            else:
                groups.append([index])
        return groups

    def _prepare(self, structure: Structure, name: str | None = None) -> _Reduced:
        """Return the reduction of a structure; ``name`` is its content hash where known."""
        name = name or structure_id(structure)
        if name not in self._reduced:
            # A bare copy: site properties and oxidation states play no part in identity.
            bare = Structure(
                structure.lattice,
                [site.specie.symbol for site in structure],
                structure.frac_coords,
            )
            reduced = bare.get_reduced_structure("niggli").get_primitive_structure()
            key = (reduced.composition.reduced_formula, len(reduced))
            self._reduced[name] = _Reduced(name, key, reduced)
        return self._reduced[name]

    def _fit(self, first: _Reduced, second: _Reduced) -> bool:
        if first.key != second.key:
            return False
        if first.id == second.id:
            return True
        one, two = sorted((first, second), key=lambda item: item.id)
        return bool(self._matcher.fit(one.structure, two.structure, skip_structure_reduction=True))

    def _compare(self, first: _Reduced, second: _Reduced) -> Distance | None:
        if not self._fit(first, second):
            return None
        if first.id == second.id:
            return Distance(0.0, 0.0)
        one, two = sorted((first, second), key=lambda item: item.id)
        measured = self._measure.get_rms_dist(one.structure, two.structure)
        # fit() bounds the largest distance and so the rms; a second Niggli reduction that
        # lands on another cell is the only way to come back with nothing.
        rms = float(measured[0]) if measured is not None else self._matcher.stol
        volume = (one.structure.volume * two.structure.volume) ** 0.5
        return Distance(rms, rms * (volume / len(one.structure)) ** (1 / 3))
