"""Lazy queries: records are read only by iterating, counting or paging."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from logan_campaign.core.errors import InputError
from logan_campaign.results import convert
from logan_campaign.stores.filters import Filters, candidate_parts, criteria_of
from logan_campaign.stores.queries import CampaignDatabase
from logan_campaign.stores.records import CandidateRecord, MaterialRecord

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from logan_campaign.core.documents import Geometry
    from logan_campaign.matching.powder import Likeness, Pattern
    from logan_campaign.results.notebook import View


class Candidate(CandidateRecord):
    """A candidate's record, which notebooks show."""

    def view(self) -> View:
        """Return its structure, relaxed if available, as a view in 3D.

        Raises:
            InputError: it was read without structures.
        """
        from logan_campaign.results.notebook import View

        return View(convert.geometry(self))

    def _repr_html_(self) -> str:
        from logan_campaign.results.notebook import candidate_facts, facts_html
        from logan_campaign.results.pictures import picture

        drawn = picture(self) if self.smiles or self.structure or self.raw_structure else ""
        return str(facts_html(self.id, candidate_facts(self), drawn))


def shown(record: CandidateRecord) -> Candidate:
    """Return a record as a candidate that notebooks show."""
    return Candidate.model_construct(record.model_fields_set, **dict(record))


Found = TypeVar("Found", Candidate, MaterialRecord)


@dataclass(frozen=True)
class _Query(ABC, Generic[Found]):
    """Records that match filters.

    A query can be narrowed and read any number of times; each read returns the current contents
    of the database.

    Attributes:
        database: the database.
        filters: the filters.
    """

    database: CampaignDatabase = field(repr=False)
    filters: Filters

    @abstractmethod
    def count(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def _read(self, skip: int = 0, limit: int = 0) -> Iterator[Found]: ...

    def where(self, **filters: Any) -> Self:
        """Return the query with further filters, which replace those of the same name.

        Raises:
            InputError: unknown filter, or invalid value.
        """
        return replace(self, filters={**self.filters, **filters})

    def __iter__(self) -> Iterator[Found]:
        return self._read()

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return self.first() is not None

    def page(self, number: int, size: int = 50) -> list[Found]:
        """Return a page of records; pages beyond the last are empty.

        Args:
            number: page number, from 0.
            size: records per page.

        Raises:
            InputError: negative number, or size below one.
        """
        for name, value, least in (("page", number, 0), ("page size", size, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} must be a whole number from {least}, not {value!r}")
        return list(self._read(skip=number * size, limit=size))

    def first(self) -> Found | None:
        """Return the first record, None if there is none."""
        return next(self._read(limit=1), None)


@dataclass(frozen=True)
class CandidateQuery(_Query[Candidate]):
    """Candidates that match filters, in a given order; returned by ``candidates(...)``.

    Attributes:
        sort: the order.
        descending: whether the order is reversed.
        structures: whether records include structures.
    """

    sort: str = "order"
    descending: bool = False
    structures: bool = True

    def __post_init__(self) -> None:
        # Invalid filters raise here, not when the query is read.
        candidate_parts(criteria_of(CandidateRecord, self.filters), self.sort, self.descending)

    # --- other queries from this one ------------------------------------------------

    def sorted_by(self, order: str, descending: bool = False) -> CandidateQuery:
        """Return the query in another order.

        Args:
            order: 'order' as picked; 'energy' above the minimum or 'energy_above_hull',
                ascending; 'best': candidates of the last level first, by energy.
                Candidates without the energy come last.
            descending: reverse the order; candidates without an energy stay last.

        Raises:
            InputError: unknown order.
        """
        return replace(self, sort=order, descending=descending)

    def without_structures(self) -> CandidateQuery:
        """Return the query without structures, which is several times as fast."""
        return replace(self, structures=False)

    # --- reading --------------------------------------------------------------------

    def count(self) -> int:
        """Return how many there are."""
        return self.database.count_candidates(**self.filters)

    def ids(self) -> list[str]:
        """Return the ids of all."""
        return self.database.candidate_ids(
            sort=self.sort, descending=self.descending, **self.filters
        )

    def by_pattern(self, pattern: Pattern) -> dict[str, Likeness]:
        """Return how alike powder patterns of crystals are to a measured one, best first, by id.

        Compared are relaxed structures, or generated ones of those that were not relaxed. About
        0.1 s each for small cells; the time grows with the cell's volume.

        Raises:
            InputError: a candidate is a molecule.
        """
        from pymatgen.core import Structure  # every reading command waits for imports above

        found = {}
        for record in replace(self, structures=True):
            crystal = convert.geometry(record)
            if not isinstance(crystal, Structure):
                raise InputError("only crystals have a powder pattern, and these are molecules")
            found[record.id] = pattern.likeness(crystal)
        return dict(sorted(found.items(), key=lambda item: -item[1].similarity))

    def reasons(self, leave_out: Collection[str] = ()) -> dict[str, Counter[str]]:
        """Return how often each reason was given, by state, the most frequent state first.

        Args:
            leave_out: states that are not counted.
        """
        store: Any = self.database.stores.collection("candidates")
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for doc in store.query(criteria_of(CandidateRecord, self.filters), ["state", "reason"]):
            if doc["state"] not in leave_out:
                found[doc["state"]][doc["reason"]] += 1
        return dict(sorted(found.items(), key=lambda item: -item[1].total()))

    def values(self, field: str) -> list[Any]:
        """Return the sorted distinct values of a field, without None.

        Raises:
            InputError: the values of the field cannot be listed.
        """
        return self.database.distinct(field, **self.filters)

    def _read(self, skip: int = 0, limit: int = 0) -> Iterator[Candidate]:
        found = self.database.candidates(
            sort=self.sort,
            descending=self.descending,
            skip=skip,
            limit=limit,
            structures=self.structures,
            **self.filters,
        )
        return map(shown, found)

    def _repr_html_(self) -> str:
        from logan_campaign.results.notebook import ROWS, candidates_html

        return str(candidates_html(self.without_structures().page(0, ROWS), self.count()))

    # --- conversions ----------------------------------------------------------------

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table with one row per candidate, indexed by id, of all fields not nested."""
        import pandas as pd

        rows = [convert.row(record) for record in self.without_structures()]
        return pd.DataFrame(rows, columns=convert.COLUMNS).set_index("id")

    def to_ase(self, raw: bool = False) -> list[Atoms]:
        """Return ASE ``Atoms`` with energies, and the other fields in ``info``.

        Args:
            raw: return generated structures, without energies; candidates that were not
                relaxed are always returned as generated.
        """
        records = replace(self, structures=True)
        return [convert.atoms(record, raw) for record in records]

    def to_pymatgen(self, raw: bool = False) -> list[Geometry]:
        """Return pymatgen ``Molecule`` or ``Structure`` objects, with the id in ``properties``.

        Args:
            raw: return generated instead of relaxed structures.
        """
        records = replace(self, structures=True)
        return [convert.geometry(record, raw) for record in records]


@dataclass(frozen=True)
class MaterialQuery(_Query[MaterialRecord]):
    """Distinct relaxed structures that match filters, by formula and energy."""

    def __post_init__(self) -> None:
        criteria_of(MaterialRecord, self.filters)

    def count(self) -> int:
        """Return how many there are."""
        return self.database.count_materials(**self.filters)

    def _read(self, skip: int = 0, limit: int = 0) -> Iterator[MaterialRecord]:
        return iter(self.database.materials(skip=skip, limit=limit, **self.filters))

    def ids(self) -> list[str]:
        """Return the ids of all."""
        return [record.id for record in self]

    def best_candidates(self) -> list[Candidate]:
        """Return the best candidate of each material, with its structure."""
        return [shown(self.database.candidate(record.best_candidate_id)) for record in self]

    def to_dataframe(self) -> pd.DataFrame:
        """Return a table with one row per material, indexed by id."""
        import pandas as pd

        rows = [record.model_dump(mode="json") for record in self]
        return pd.DataFrame(rows, columns=list(MaterialRecord.model_fields)).set_index("id")

    def to_ase(self) -> list[Atoms]:
        """Return ASE ``Atoms`` of the best candidate of each material."""
        return [convert.atoms(record) for record in self.best_candidates()]

    def to_pymatgen(self) -> list[Geometry]:
        """Return pymatgen structures of the best candidate of each material."""
        return [convert.geometry(record) for record in self.best_candidates()]
