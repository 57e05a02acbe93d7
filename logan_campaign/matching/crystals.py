"""Whether two crystals are the same, by pymatgen's StructureMatcher.

The matcher decides; what surrounds it saves work:

1. Every structure is reduced once and kept under its content hash
   (:mod:`~logan_campaign.matching.reduction`).
2. Only structures with equal exact keys (reduced composition, number of sites after that
   reduction) are compared: with unequal keys the matcher always says no.
3. Pairs that the matcher cannot match whatever it tries are passed over
   (:mod:`~logan_campaign.matching.rejection`). This never changes a decision.
4. In mode ``prefilter``, pairs whose fingerprints are far apart are passed over too
   (:mod:`~logan_campaign.matching.fingerprint`): the one step that can lose a match, with
   limits set by measurement.

The matcher's answer can depend on which structure comes first, so pairs are always put
to it in the order of their content hashes; and since matching is not transitive, groups
are formed by leaders taken in that order too. Any order of input gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from logan_campaign.core.documents import StructureEntry
from logan_campaign.geometry.structures import structure_id
from logan_campaign.matching.bucket import Bucket
from logan_campaign.matching.fingerprint import distances, fingerprint
from logan_campaign.matching.reduction import Reduced, reduce_crystal
from logan_campaign.matching.rejection import Rejector
from logan_campaign.matching.spec import MatchingMode, Tolerance

#: Named tolerances: fractional length, site (in mean free length per atom), angle (degrees).
TOLERANCES: dict[Tolerance, tuple[float, float, float]] = {
    "strict": (0.1, 0.1, 3.0),
    "default": (0.2, 0.3, 5.0),
    "loose": (0.3, 0.5, 10.0),
}

#: Farthest fingerprints (rms difference in free lengths) that mode ``prefilter`` compares.
#: Set by ``benchmarks/matching.py``, which measures what they lose.
FINGERPRINT_LIMITS: dict[Tolerance, float] = {"strict": 0.075, "default": 0.17, "loose": 0.22}

# A group's leaders are tried in portions: the first may match, or the last of thousands.
_FIRST_PORTION, _PORTION_GROWTH = 4, 4


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


class KnownCrystals:
    """Entries to match against, reduced only where a structure calls for them."""

    def __init__(self, entries: Iterable[StructureEntry]) -> None:
        self._waiting: dict[frozenset[tuple[int, int]], list[StructureEntry]] = {}
        self._entries: dict[tuple[str, int], list[StructureEntry]] = {}
        self._buckets: dict[tuple[str, int], Bucket] = {}
        for entry in entries:
            if isinstance(entry.structure, Structure):
                shares = _shares(np.array(entry.structure.atomic_numbers))
                self._waiting.setdefault(shares, []).append(entry)

    def bucket(
        self, crystal: Reduced, cache: dict[str, Reduced]
    ) -> tuple[Bucket, list[StructureEntry]]:
        """Return what has the key of ``crystal``: reductions, and entries in that order.

        Args:
            crystal: a reduced crystal.
            cache: reductions by content hash; added to.
        """
        shares = _shares(crystal.numbers)
        waiting = self._waiting.get(shares, [])
        # A cell never reduces to a number of sites that does not divide its own.
        n_sites = len(crystal.numbers)
        for entry in [e for e in waiting if len(e.structure) % n_sites == 0]:
            waiting.remove(entry)
            assert isinstance(entry.structure, Structure)  # by __init__
            if entry.id not in cache:
                cache[entry.id] = reduce_crystal(entry.structure, entry.id)
            found = cache[entry.id]
            self._buckets.setdefault(found.key, Bucket()).add(found)
            self._entries.setdefault(found.key, []).append(entry)
        return self._buckets.get(crystal.key, Bucket()), self._entries.get(crystal.key, [])


class CrystalMatcher:
    """Compares crystals at one named tolerance; keeps every reduction it has done.

    Args:
        tolerance: ``strict``, ``default`` (pymatgen's) or ``loose``.
        share: another matcher, whose reductions (which no tolerance enters) are used too.
        mode: ``exact``, or ``prefilter`` to pass over pairs with unlike fingerprints.
    """

    def __init__(
        self,
        tolerance: Tolerance = "default",
        share: CrystalMatcher | None = None,
        mode: MatchingMode = "exact",
    ) -> None:
        ltol, stol, angle_tol = TOLERANCES[tolerance]
        self.tolerance = tolerance
        self.mode = mode
        self._matcher = StructureMatcher(
            ltol=ltol, stol=stol, angle_tol=angle_tol, primitive_cell=True, scale=True
        )
        # The structures that reach it are reduced already: only Niggli is repeated, cheaply.
        self._measure = StructureMatcher(
            ltol=ltol, stol=stol, angle_tol=angle_tol, primitive_cell=False, scale=True
        )
        self._rejector = Rejector(ltol, stol, angle_tol)
        self._reduced: dict[str, Reduced] = {} if share is None else share._reduced

    def key(self, structure: Structure) -> tuple[str, int]:
        """Return reduced formula and number of sites of the primitive reduced cell."""
        return self._prepare(structure).key

    def distance(self, first: Structure, second: Structure) -> Distance | None:
        """Return the rms distance of two crystals, or None if they differ."""
        return self._distance(self._prepare(first), self._prepare(second))

    def same(self, first: Structure, second: Structure) -> bool:
        """Tell whether two crystals are the same within the tolerance."""
        return self._fit(self._prepare(first), self._prepare(second))

    def match(
        self, structure: Structure, known: KnownCrystals | Sequence[StructureEntry]
    ) -> CrystalMatch | None:
        """Return the entry that ``structure`` equals, the nearest if several, else None.

        Nearest is the smallest rms distance, then the lowest entry id.

        Args:
            structure: a crystal.
            known: the entries. Make a :class:`KnownCrystals` of them where many structures
                are matched against the same.
        """
        found = self.matches(structure, known)
        return found[0] if found else None

    def matches(
        self, structure: Structure, known: KnownCrystals | Sequence[StructureEntry]
    ) -> list[CrystalMatch]:
        """Return every entry that ``structure`` equals, nearest first."""
        prepared = self._prepare(structure)
        if not isinstance(known, KnownCrystals):
            known = KnownCrystals(known)
        bucket, entries = known.bucket(prepared, self._reduced)
        found = [
            CrystalMatch(entries[index], *distance)
            for index, distance in self.matches_in(prepared, bucket)
        ]
        return sorted(found, key=lambda match: (match.rms, match.entry.id))

    def matches_in(self, crystal: Reduced, bucket: Bucket) -> list[tuple[int, Distance]]:
        """Return which members of a bucket equal a reduced crystal of the same key."""
        found = []
        for index in self._possible(crystal, bucket, np.arange(len(bucket))):
            distance = self._distance(crystal, bucket.items[index])
            if distance is not None:
                found.append((int(index), distance))
        return found

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
        leaders: dict[tuple[str, int], Bucket] = {}
        group_of: dict[tuple[str, int], list[int]] = {}
        for index in sorted(range(len(prepared)), key=lambda i: (names[i], prepared[i].id, i)):
            item = prepared[index]
            bucket = leaders.setdefault(item.key, Bucket())
            numbers = group_of.setdefault(item.key, [])
            leader = self._first_match(item, bucket)
            if leader is not None:
                groups[numbers[leader]].append(index)
                continue
            bucket.add(item)
            numbers.append(len(groups))
            groups.append([index])
        return groups

    def reduced(self, structure: Structure, name: str | None = None) -> Reduced:
        """Return the reduction of a structure, which is then kept.

        Args:
            structure: a crystal.
            name: its content hash, where known already.
        """
        return self._prepare(structure, name)

    def _first_match(self, item: Reduced, bucket: Bucket) -> int | None:
        """Return the first member of a bucket that equals ``item``."""
        indices = self._near(item, bucket, np.arange(len(bucket)))
        start, size = 0, _FIRST_PORTION
        while start < len(indices):
            portion = indices[start : start + size]
            for index in portion[self._rejector.possible(item, bucket, portion)]:
                if self._fit(bucket.items[index], item):
                    return int(index)
            start, size = start + size, size * _PORTION_GROWTH
        return None

    def _possible(
        self, item: Reduced, bucket: Bucket, indices: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return those members of a bucket that have to be put to the matcher."""
        indices = self._near(item, bucket, indices)
        return indices[self._rejector.possible(item, bucket, indices)]

    def _near(self, item: Reduced, bucket: Bucket, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those with like fingerprints; in mode ``exact`` all."""
        if self.mode == "exact" or not len(indices):
            return indices
        apart = distances(fingerprint(item), bucket.fingerprints()[indices])
        return indices[apart <= FINGERPRINT_LIMITS[self.tolerance]]

    def _prepare(self, structure: Structure, name: str | None = None) -> Reduced:
        name = name or structure_id(structure)
        if name not in self._reduced:
            self._reduced[name] = reduce_crystal(structure, name)
        return self._reduced[name]

    def _fit(self, first: Reduced, second: Reduced) -> bool:
        if first.key != second.key:
            return False
        if first.id == second.id:
            return True
        one, two = sorted((first, second), key=lambda item: item.id)
        return bool(self._matcher.fit(one.structure, two.structure, skip_structure_reduction=True))

    def _distance(self, first: Reduced, second: Reduced) -> Distance | None:
        if not self._fit(first, second):
            return None
        if first.id == second.id:
            return Distance(0.0, 0.0)
        one, two = sorted((first, second), key=lambda item: item.id)
        measured = self._measure.get_rms_dist(one.structure, two.structure)
        # fit() bounds the largest distance and so the rms; a second Niggli reduction that
        # lands on another cell is the only way to come back with nothing.
        rms = float(measured[0]) if measured is not None else self._matcher.stol
        volume = (one.volume * two.volume) ** 0.5
        return Distance(rms, rms * (volume / len(one.numbers)) ** (1 / 3))


def _shares(numbers: NDArray[np.int64]) -> frozenset[tuple[int, int]]:
    """Return the composition: atomic number and share of the atoms, for each species."""
    species, counts = np.unique(numbers, return_counts=True)
    counts = counts // np.gcd.reduce(counts)
    return frozenset(zip(species.tolist(), counts.tolist(), strict=True))
