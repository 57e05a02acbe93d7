"""Targets of several compositions: a chemical system, or formulas and ranges of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ase.data import atomic_numbers
from ase.formula import Formula
from pydantic import Field, field_validator, model_validator
from pymatgen.core import Element

from logan_campaign.campaign.target import OpenTarget, TargetGeometry, TargetSpec, Vector
from logan_campaign.core.documents import TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.generators.target import LatticeKind
from logan_campaign.geometry.formulas import hill_formula, reduced_formula
from logan_campaign.geometry.lewis import usual_valence, why_no_molecule

#: Largest number of cells that one spec may ask for.
MAX_CELLS = 5000

_ELEMENT = r"[A-Z][a-z]?"
_SYSTEM = rf"{_ELEMENT}(-{_ELEMENT})*"
_TERM = re.compile(rf"({_ELEMENT})(?:\((\d+)(?:-(\d+))?\)|(\d+))?")
_RANGE = re.compile(rf"(?:{_ELEMENT}(?:\(\d+(?:-\d+)?\)|\d*))+")

Counts = dict[str, int]


class Wanted(NamedTuple):
    """A composition with the size of the cell."""

    reduced: str
    """Hill formula of one formula unit; of a molecule, the whole."""
    units: int
    """Formula units per cell or cluster."""
    formula: str
    """Hill formula of the cell, cluster or molecule."""

    @property
    def n_atoms(self) -> int:
        """Atoms per cell."""
        return len(Formula(self.formula))


class SystemSpec(OpenTarget):
    """Compositions and cells to search, listed by ``logan-campaign compositions``."""

    chemical_system: str | None = Field(
        None,
        pattern=rf"^{_SYSTEM}$",
        description="Elements, such as Mg-Si-O: all compositions of at least two of them (of "
        "molecules: of any of them)",
    )
    formulas: list[str] | None = Field(
        None,
        min_length=1,
        description="Instead: formulas, such as Li3PS4, and ranges, such as Li(1-4)P(1)S(2-7)",
    )
    kind: Literal["molecule", "cluster", "crystal"] = Field(
        description="As for a single composition"
    )
    max_atoms: int = Field(
        8, ge=1, le=200, description="Maximum number of atoms of a cell or cluster"
    )
    max_heavy_atoms: int = Field(
        4, ge=1, le=30, description="Maximum number of atoms other than hydrogen of a molecule"
    )
    formula_units: tuple[int, int] | None = Field(
        None,
        description="Smallest and largest number of formula units in a cell; null: as many as "
        "'max_atoms' allows",
    )
    charge_balanced: bool = Field(
        True,
        description="Only crystals for which pymatgen's oxidation states sum to zero; alloys of "
        "metals are exempt",
    )
    include: list[str] = Field(
        default_factory=list, description="Formulas and ranges to add, whatever their charges"
    )
    exclude: list[str] = Field(
        default_factory=list,
        description="Formulas, ranges and systems (Mg-Si: all compositions of exactly these "
        "elements) to leave out",
    )
    box: Vector = Field((8.0, 7.0, 6.0), description="Edges of the box around a molecule (Å)")
    cell: Literal["drawn", "learned"] = Field(
        "learned", description="Origin of the cells of crystals, see a single composition"
    )

    @field_validator("formulas", "include", "exclude")
    @classmethod
    def _are_formulas(cls, values: list[str] | None) -> list[str] | None:
        for text in values or ():
            if not re.fullmatch(_SYSTEM, text) or "-" not in text:
                _first_of(text)
        return values

    @model_validator(mode="after")
    def _means_something(self) -> SystemSpec:
        if (self.chemical_system is None) == (self.formulas is None):
            raise ValueError("give either 'chemical_system' or 'formulas'")
        least = self.formula_units
        if least is not None and not 1 <= least[0] <= least[1]:
            raise ValueError("formula_units: smallest and largest number, the smallest first")
        for symbol in self.elements:
            if symbol not in atomic_numbers:
                raise ValueError(f"there is no element {symbol!r}")
        alone = len(self.elements) == 1 and self.kind != "molecule"
        if self.chemical_system is not None and alone and not self.include:
            raise ValueError(
                f"{self.chemical_system} has no compositions: name at least two elements, as in "
                "Mg-Si-O"
            )
        if self.kind == "molecule" and (bad := [s for s in self.elements if not usual_valence(s)]):
            raise ValueError(f"the valences of {', '.join(bad)} are not known here")
        return self

    @property
    def elements(self) -> list[str]:
        """All elements, by atomic number."""
        texts = self.formulas or re.findall(_ELEMENT, self.chemical_system or "")
        found = {s for text in (*texts, *self.include) for s in re.findall(_ELEMENT, text)}
        return sorted(found, key=lambda symbol: atomic_numbers.get(symbol, 0))

    @property
    def name(self) -> str:
        """The chemical system, such as 'Au-Cu'."""
        return "-".join(sorted(self.elements))

    @property
    def formula(self) -> str:
        """Hill formula of one atom of each element."""
        return hill_formula(self.elements)

    @property
    def symbols(self) -> list[str]:
        """All elements, for what all compositions share."""
        return self.elements

    @property
    def structure_kind(self) -> TargetKind:
        """Kind of the structures."""
        return "crystal" if self.kind == "crystal" else "molecule"

    @property
    def lattice(self) -> LatticeKind:
        """Origin of the cells."""
        return self.cell if self.kind == "crystal" else "fixed"

    @property
    def _shared(self) -> dict[str, Any]:
        names = (*OpenTarget.model_fields, "kind", "box")
        said = {name: getattr(self, name) for name in names}
        return said | ({"cell": self.cell} if self.kind == "crystal" else {})

    def of(self, formula: str) -> TargetSpec:
        """Return the target of one cell or molecule."""
        return TargetSpec(formula=formula, **self._shared)

    def resolve(self, base: Path) -> TargetGeometry:
        """Return a target with one atom of each element, for what all compositions share.

        Args:
            base: not used: no file belongs to a system.

        Raises:
            InputError: there is no composition.
        """
        first = self.of(self.wanted()[0].formula).resolve(base)
        return first.model_copy(update={"symbols": self.elements})

    def wanted(self) -> list[Wanted]:
        """Return all compositions and sizes of cells, the smallest first.

        Raises:
            InputError: there are none, or more than :data:`MAX_CELLS`.
        """
        found = dict.fromkeys(self._all())
        if not found:
            raise InputError("target: no composition is left: widen the limits")
        return sorted(found, key=lambda one: (one.n_atoms, len(Formula(one.reduced).count()), one))

    def _all(self) -> Iterator[Wanted]:
        systems = {frozenset(re.findall(_ELEMENT, t)) for t in self.exclude if _is_system(t)}
        left_out = {
            self._named(counts)
            for text in self.exclude
            if not _is_system(text)
            for counts in _counts(text)
        }
        n = 0
        for counts, forced in self._compositions():
            named = self._named(counts)
            if named in left_out or frozenset(counts) in systems:
                continue
            if not forced and not self._is_possible(named):
                continue
            for one in self._cells(named):
                n += 1
                if n > MAX_CELLS:
                    raise InputError(
                        f"target: these are more than {MAX_CELLS} compositions and cells: lower "
                        "'max_atoms', or exclude some"
                    )
                yield one

    def _compositions(self) -> Iterator[tuple[Counts, bool]]:
        """Yield compositions, each once per multiple, and whether they are asked for by name."""
        for text in self.include:
            yield from ((counts, True) for counts in _counts(text))
        for text in self.formulas or ():
            yield from ((counts, False) for counts in _counts(text))
        if self.chemical_system is not None:
            grown = _molecules if self.kind == "molecule" else _cells
            most = self.max_heavy_atoms if self.kind == "molecule" else self.max_atoms
            yield from ((counts, False) for counts in grown(self.elements, most))

    def _named(self, counts: Counts) -> str:
        whole = hill_formula(_formula(counts))
        # a molecule of twice the atoms is another one
        return whole if self.kind == "molecule" else reduced_formula(whole)

    def _is_possible(self, formula: str) -> bool:
        if self.kind == "crystal":
            return not self.charge_balanced or is_balanced(formula)
        if self.kind == "molecule" and not self.charge and (self.multiplicity or 1) == 1:
            return why_no_molecule(formula) is None
        try:
            self.of(formula)
        except ValueError:  # the electrons do not pair as asked for
            return False
        return True

    def _cells(self, named: str) -> Iterator[Wanted]:
        if self.kind == "molecule":
            yield Wanted(named, 1, named)
            return
        counts = Formula(named).count()
        most = self.max_atoms // sum(counts.values())
        lowest, highest = self.formula_units or (1, most)
        for units in range(lowest, min(highest, most) + 1):
            formula = hill_formula(_formula({s: n * units for s, n in counts.items()}))
            if self._fits(formula):
                yield Wanted(named, units, formula)

    def _fits(self, formula: str) -> bool:
        """Return whether Wyckoff positions of the given space groups fit the atoms."""
        if self.symmetry is None or self.symmetry.groups == "training":
            return True
        volumes = self.volume_per_atom or (1e3, 1e3)  # any that is large enough
        target = self.of(formula).model_copy(update={"volume_per_atom": volumes})
        try:
            target.resolve(Path())
        except InputError:
            return False
        return True


def _is_system(text: str) -> bool:
    return re.fullmatch(_SYSTEM, text) is not None and "-" in text


def _first_of(text: str) -> Counts:
    """Return the first composition of a formula or range; raise ValueError if there is none."""
    try:
        found = next(_counts(text), None)
    except InputError as err:
        raise ValueError(f"{err}; write it like Li3PS4 or Li(1-4)P(1)S(2-7)") from err
    if found is None:
        raise ValueError(f"the range {text!r} is empty")
    return found


def _counts(text: str) -> Iterator[Counts]:
    """Yield the compositions of a formula, or of a range such as ``Li(1-4)P(1)S(2-7)``."""
    if not _RANGE.fullmatch(text) or "(" not in text:
        yield dict(Formula(hill_formula(text)).count())
        return
    terms = []
    for symbol, low, high, plain in _TERM.findall(text):
        first = int(low or plain or 1)
        hill_formula(symbol)  # raises if there is no such element
        terms.append((symbol, range(first, int(high or first) + 1)))
    for numbers in itertools.product(*(span for _, span in terms)):
        counts: Counts = {}
        for (symbol, _), n in zip(terms, numbers, strict=True):
            if n:
                counts[symbol] = counts.get(symbol, 0) + n
        if counts:
            yield counts


def _cells(elements: list[str], most: int) -> Iterator[Counts]:
    """Yield the reduced compositions of two or more elements in up to ``most`` atoms."""
    for n_atoms in range(2, most + 1):
        for bars in itertools.combinations(range(n_atoms + len(elements) - 1), len(elements) - 1):
            ends = (-1, *bars, n_atoms + len(elements) - 1)
            numbers = [b - a - 1 for a, b in itertools.pairwise(ends)]
            if sum(n > 0 for n in numbers) > 1 and math.gcd(*numbers) == 1:
                yield {s: n for s, n in zip(elements, numbers, strict=True) if n}


def _molecules(elements: list[str], most: int) -> Iterator[Counts]:
    """Yield the compositions of up to ``most`` atoms and of as many hydrogens as they bind."""
    heavy = [symbol for symbol in elements if symbol != "H"]
    for numbers in itertools.product(range(most + 1), repeat=len(heavy)):
        if not 1 <= sum(numbers) <= most:
            continue
        counts = {s: n for s, n in zip(heavy, numbers, strict=True) if n}
        free = sum(n * (usual_valence(symbol) - 2) for symbol, n in counts.items()) + 2
        for n_h in range(free + 1) if "H" in elements else (0,):
            if sum(numbers) + n_h > 1:  # an atom is no molecule
                yield counts | ({"H": n_h} if n_h else {})


def _formula(counts: Counts) -> str:
    return "".join(f"{symbol}{n}" for symbol, n in counts.items())


@cache
def is_balanced(formula: str) -> bool:
    """Return whether pymatgen's oxidation states of a composition can sum to zero.

    As :meth:`pymatgen.core.Composition.oxi_state_guesses`, atoms of one element may differ; that
    lists all guesses, which takes a hundred times as long. Metals alone need no balance.

    Args:
        formula: such as ``'O4SiMg2'``.
    """
    counts = Formula(formula).count()
    elements = {symbol: Element(symbol) for symbol in counts}
    if all(element.is_metal for element in elements.values()):
        return True
    sums = {0}
    for symbol, element in elements.items():
        states = element.icsd_oxidation_states or element.common_oxidation_states
        for _ in range(counts[symbol]):
            sums = {total + state for total in sums for state in states}
    return 0 in sums
