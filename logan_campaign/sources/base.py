"""Common base of sources: validation, labels, duplicates, counts."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ase import Atoms
from ase.data import atomic_numbers
from ase.formula import Formula
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from pymatgen.core import Molecule, Structure

from logan_campaign.core.documents import (
    Manifest,
    Origin,
    PulledRecord,
    Rejection,
    StructureEntry,
    TargetKind,
)
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.ids import content_id
from logan_campaign.core.settings import SpecModel
from logan_campaign.geometry.formulas import hill_formula, reduced_formula
from logan_campaign.geometry.molecules import perceive
from logan_campaign.geometry.structures import (
    formula,
    from_atoms,
    in_compact_cell,
    kind_of,
    spacegroup_symbol,
    structure_id,
    validate_atoms,
)


def short(text: str, limit: int = 80) -> str:
    """Return a text of others in one line, cut after so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "…"


def malformed(err: Exception) -> str:
    """Return in one line, without control characters, what a library said of a document."""
    text = json.dumps(str(err))[1:-1].replace("\\n", " ").strip()
    return short(f"{type(err).__name__}: {text}" if text else type(err).__name__, 120)


def _checked_formula(text: str) -> str:
    try:
        hill_formula(text)
    except InputError as err:
        raise ValueError(str(err)) from err
    return text


#: A chemical formula as written by the user, checked but not changed.
FormulaText = Annotated[str, AfterValidator(_checked_formula)]


def without_credentials(url: str) -> str:
    """Return a URL that is safe to store and display.

    Raises:
        PydanticCustomError: it contains a name or password, which is not repeated.
    """
    if "@" in url.partition("://")[2].split("/", 1)[0]:
        raise PydanticCustomError(
            "secret", "a URL in a spec is stored and shown: it must not contain credentials"
        )
    return url


@dataclass
class LoadedSet:
    """A loaded set: distinct valid structures, and rejected entries with reasons."""

    entries: list[StructureEntry] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    n_duplicates: int = 0
    records: list[PulledRecord] = field(default_factory=list)
    origin: Origin = field(default_factory=lambda: Origin(name=""))

    @property
    def kind(self) -> TargetKind:
        """Kind of the structures; a set has only one kind."""
        return kind_of(self.entries[0].structure)

    @property
    def formulas(self) -> dict[str, int]:
        """Structures per Hill formula."""
        return dict(sorted(Counter(entry.formula for entry in self.entries).items()))

    @property
    def species(self) -> list[str]:
        """Element symbols in order of atomic number."""
        symbols = {symbol for name in self.formulas for symbol in Formula(name).count()}
        return sorted(symbols, key=lambda symbol: int(atomic_numbers[symbol]))


def set_id(entries: Iterable[StructureEntry]) -> str:
    """Return ``'set-…'``, the content id of the structures, independent of order and labels."""
    return content_id("set", sorted(entry.id for entry in entries))


class Preview(NamedTuple):
    """What a source holds."""

    kind: TargetKind
    species: set[str] | None
    """Element symbols; None where only the source itself knows."""
    content: str | None
    """Content id of what stands outside the spec, in files; None where the spec says it all."""


def elements_of(formulas: Iterable[str] | None) -> set[str] | None:
    """Return the elements of formulas; None where there are none."""
    return {symbol for text in formulas for symbol in Formula(text).count()} if formulas else None


class Source(SpecModel, ABC):
    """A place that structures come from, with the query that selects them.

    Subclasses add a literal ``type``; plugins name theirs in the entry-point group
    ``logan_campaign.sources``.
    """

    type: str = Field(description="Kind of source")

    @property
    @abstractmethod
    def title(self) -> str:
        """Short name for people."""

    @property
    def query_id(self) -> str:
        """Content id of the query; pulls of the same query follow one another ('query-…')."""
        return content_id("query", self.model_dump(mode="json"))

    def for_target(self, formula: str) -> Source:
        """Return the source for a campaign's target: what the spec leaves open is filled in."""
        return self

    @abstractmethod
    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Read, validate and de-duplicate the structures.

        Args:
            base: folder that relative paths start from; the current one by default.
            previous: what the last pull of this source gave, where there was one.

        Raises:
            InputError: if the source cannot be read, or nothing usable is in it.
        """

    def preview(self, base: Path) -> Preview:
        """Return what the source holds, so that mistakes are found before any job starts.

        By default it is loaded whole; sources that are slow to load, or on the network, say what
        they know without.

        Args:
            base: folder that relative paths are meant from.

        Raises:
            InputError: a file is missing, unreadable or holds nothing usable.
        """
        loaded = self.load(base)
        return Preview(loaded.kind, set(loaded.species), set_id(loaded.entries))


def _graph_of(molecule: Molecule) -> str:
    """Return the SMILES of a molecule.

    Raises:
        StructureError: it has none, for example an ion or a molecule with missing hydrogens.
    """
    found = perceive(molecule)
    if found.smiles is None:
        odd = sum(molecule.atomic_numbers) % 2
        hint = "an odd number of electrons: hydrogens missing, an ion or a radical"
        raise StructureError(f"no molecule: {hint if odd else found.reason}")
    return found.smiles


class Collector:
    """Collects distinct valid structures one by one.

    Args:
        formulas: formulas to keep; other compositions are skipped silently. Molecules must
            have the formula, crystals the reduced formula.
        one_per_graph: count a molecule with the SMILES of an earlier one as a duplicate.
        need_graphs: reject molecules without a molecular graph.
    """

    def __init__(
        self,
        formulas: list[str] | None = None,
        one_per_graph: bool = False,
        need_graphs: bool = True,
    ) -> None:
        self.result = LoadedSet()
        self._wanted = None if formulas is None else {hill_formula(text) for text in formulas}
        self._named = formulas or []
        self._one_per_graph = one_per_graph
        self._need_graphs = need_graphs
        self._ids: set[str] = set()
        self._smiles: set[str] = set()
        self._n_other = 0

    def add(
        self,
        atoms: Atoms,
        label: str,
        smiles: str | None = None,
        energy_ev: float | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Add one structure; ``smiles`` is perceived from the geometry if not given."""
        try:
            if not self._is_wanted(atoms):
                self._n_other += 1
                return
            validate_atoms(atoms)
            structure = from_atoms(in_compact_cell(atoms))
            if isinstance(structure, Structure):
                smiles = None
            elif smiles is None:
                smiles = _graph_of(structure) if self._need_graphs else perceive(structure).smiles
        except StructureError as err:
            self.reject(label, str(err))
            return
        if self.result.entries and kind_of(structure) != self.result.kind:
            raise InputError(
                f"{label} is a {kind_of(structure)} but {self.result.entries[0].label} is a "
                f"{self.result.kind}: a set holds one kind"
            )
        entry_id = structure_id(structure)
        about = content_id("record", [entry_id, energy_ev, properties or {}])
        record = PulledRecord(label=label, state="kept", structure_id=entry_id, hash=about)
        self.result.records.append(record)
        if entry_id in self._ids or (self._one_per_graph and smiles in self._smiles):
            self.result.n_duplicates += 1
            record.state = "duplicate"
            return
        self._ids.add(entry_id)
        if smiles is not None:
            self._smiles.add(smiles)
        self.result.entries.append(
            StructureEntry(
                id=entry_id,
                label=label,
                formula=formula(structure),
                structure=structure,
                smiles=smiles,
                spacegroup=spacegroup_symbol(structure)
                if isinstance(structure, Structure)
                else None,
                energy_ev=energy_ev,
                properties=properties or {},
            )
        )

    def reject(self, label: str, reason: str) -> None:
        """Record an unusable structure."""
        self.result.rejected.append(Rejection(label=label, reason=reason))
        self.result.records.append(
            PulledRecord(
                label=label,
                state="rejected",
                structure_id=None,
                hash=content_id("record", [None, reason]),
            )
        )

    def finish(self, source: str, origin: Origin | None = None) -> LoadedSet:
        """Return the set.

        Args:
            source: name of the source, for the error.
            origin: the source's version and licence.

        Raises:
            InputError: the set is empty.
        """
        self.result.origin = origin or Origin(name=source)
        if self.result.entries:
            return self.result
        reasons = []
        if self.result.rejected:
            first = self.result.rejected[0]
            reasons.append(f"{len(self.result.rejected)} rejected ({first.label}: {first.reason})")
        if self._n_other:
            reasons.append(f"{self._n_other} of other compositions than {', '.join(self._named)}")
        raise InputError(
            f"training set is empty: {source} has no usable structure"
            + (": " + "; ".join(reasons) if reasons else "")
        )

    def _is_wanted(self, atoms: Atoms) -> bool:
        if self._wanted is None:
            return True
        name = formula(atoms)
        if not atoms.pbc.any():
            return name in self._wanted
        return reduced_formula(name) in {reduced_formula(wanted) for wanted in self._wanted}
