"""Energy above the convex hull of the phases that a campaign computed at one level.

Energies are comparable only within one level (functional, cutoff, data sets). The hull is
therefore made of the campaign's candidates, its known entries and competing phases relaxed at
that level, and the elements. It is not the hull of the Materials Project, whose energies come
from other settings and thousands of phases. Phases that were not computed are missing, so the
energy above this hull is a lower bound.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from pymatgen.core import Composition, Element, Lattice, Structure

from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.base import Level

#: Cell edges for molecules of elements (Å); unequal, to avoid symmetry among images.
_BOX = (8.0, 8.25, 8.5)
#: Elements with a magnetic ground state, computed with spin polarisation.
_MAGNETIC = frozenset({"O", "Cr", "Mn", "Fe", "Co", "Ni", "Gd"})


_composition = lru_cache(maxsize=10_000)(Composition)


class HullEntry(NamedTuple):
    """A computed phase."""

    id: str
    formula: str
    energy_ev: float  # of that formula; under pressure the enthalpy


class Stability(NamedTuple):
    """Where a phase or a composition is relative to the convex hull."""

    above_ev_per_atom: float
    """Energy above the hull (eV/atom), zero for phases on it."""
    decomposition: dict[str, float]
    """Ids of the phases on the hull that it falls into, with their shares of its atoms."""


class Hull:
    """Convex hull of phases that were computed at one level and pressure.

    S. P. Ong et al., Chemistry of Materials 20, 1798 (2008), doi:10.1021/cm702327g.

    Args:
        entries: the phases, with an entry of every element among them; see :func:`hull_of`.

    Attributes:
        entries: the phases.
        stable: those on the hull, elements first, then by formula.
    """

    def __init__(self, entries: Sequence[HullEntry]) -> None:
        # it takes a second to import, and few campaigns have a hull
        from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

        self.entries = list(entries)
        self.diagram = PhaseDiagram(
            [PDEntry(Composition(e.formula), e.energy_ev, name=e.id) for e in entries]
        )
        on_hull = {entry.name for entry in self.diagram.stable_entries}
        self.stable = sorted(
            (entry for entry in self.entries if entry.id in on_hull),
            key=lambda entry: (len(_composition(entry.formula)), entry.formula),
        )
        self._potentials = self._chemical_potentials()
        self._parts: dict[str, dict[str, float]] = {}

    def _chemical_potentials(self) -> np.ndarray:
        """Return the energy (eV) of an atom of each element on each facet, (n_facets, n)."""
        elements, corners = self.diagram.elements, self.diagram.qhull_entries
        if len(elements) == 1:
            return np.array([[self.diagram.el_refs[elements[0]].energy_per_atom]])
        found = []
        for facet in self.diagram.facets:
            entries = [corners[int(k)] for k in facet]
            shares = [[e.composition.get_atomic_fraction(x) for x in elements] for e in entries]
            found.append(np.linalg.solve(shares, [entry.energy_per_atom for entry in entries]))
        return np.array(found)

    def energy_at(self, formula: str) -> float:
        """Return the energy (eV/atom) of the hull at a composition.

        Raises:
            ValueError: the composition has other elements.
        """
        composition = _composition(formula)
        if missing := set(composition) - set(self.diagram.elements):
            raise ValueError(f"the hull has no {', '.join(sorted(map(str, missing)))}")
        shares = [composition.get_atomic_fraction(element) for element in self.diagram.elements]
        # a convex function is the largest of the planes of its facets
        return float((self._potentials @ shares).max())

    def decomposition(self, formula: str) -> dict[str, float]:
        """Return the phases on the hull that a composition falls into.

        Returns:
            Id of each phase, with its share of the atoms.

        Raises:
            ValueError: the composition has other elements.
        """
        if formula not in self._parts:
            parts = self.diagram.get_decomposition(_composition(formula))
            self._parts[formula] = {entry.name: float(share) for entry, share in parts.items()}
        return self._parts[formula]

    def above(self, entry: HullEntry) -> float:
        """Return how far (eV/atom) a phase is above the hull; negative if it would lower it."""
        return entry.energy_ev / self.n_atoms(entry.formula) - self.energy_at(entry.formula)

    @staticmethod
    def n_atoms(formula: str) -> int:
        """Return the number of atoms of a formula."""
        return round(_composition(formula).num_atoms)

    def formation(self, formula: str, energy_ev: float) -> float:
        """Return the energy (eV/atom) of forming a phase from the elements.

        Args:
            formula: its composition.
            energy_ev: energy of that formula (eV).
        """
        composition = _composition(formula)
        apart = sum(n * self.diagram.el_refs[e].energy_per_atom for e, n in composition.items())
        return float((energy_ev - apart) / composition.num_atoms)

    def facets(self) -> list[list[str]]:
        """Return the phases that coexist: ids of each facet's corners."""
        corners = self.diagram.qhull_entries
        return [[corners[int(k)].name for k in facet] for facet in self.diagram.facets]

    def stability(self) -> dict[str, Stability]:
        """Return energy above the hull and decomposition of each entry, by id."""
        found = {}
        for entry in self.entries:
            above = max(0.0, self.above(entry))
            found[entry.id] = Stability(above, self.decomposition(entry.formula))
        return found


def is_element(formula: str) -> bool:
    """Return whether a formula has a single element."""
    return bool(_composition(formula).is_element)


def reachable(entries: Iterable[HullEntry]) -> list[HullEntry]:
    """Return the entries that a hull can hold: those of elements that have an entry each."""
    made = [(entry, _composition(entry.formula)) for entry in entries]
    pure = {composition.elements[0] for _, composition in made if composition.is_element}
    return [entry for entry, composition in made if set(composition) <= pure]


def hull_of(entries: Iterable[HullEntry]) -> Hull | None:
    """Return the convex hull of phases computed at one level and pressure.

    Returns:
        The hull, or None unless every element among them has an entry.
    """
    entries = list(entries)
    return Hull(entries) if entries and len(reachable(entries)) == len(entries) else None


def above_hull(entries: Iterable[HullEntry]) -> dict[str, float]:
    """Return each entry's energy above the hull of all of them (eV/atom).

    Returns:
        Energy by id; empty unless every element among them has an entry.
    """
    hull = hull_of(entries)
    found = hull.stability() if hull is not None else {}
    return {name: stability.above_ev_per_atom for name, stability in found.items()}


def corrected_energy(structure: Structure, energy_ev: float) -> float | None:
    """Return a GGA energy (eV) with the corrections of the Materials Project.

    A. Wang et al., Scientific Reports 11, 15496 (2021), doi:10.1038/s41598-021-94550-5.

    Returns:
        The energy, None if the scheme wants other settings (GGA+U for oxides and fluorides of
        some transition metals).
    """
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    parameters = {"run_type": "GGA", "hubbards": {}, "software": "other"}
    entry = ComputedStructureEntry(structure, energy_ev, parameters=parameters)
    scheme = MaterialsProject2020Compatibility(check_potcar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of oxidation states that it guesses
        found = scheme.process_entry(entry, on_error="ignore")
    return None if found is None else float(found.energy)


def element_structure(symbol: str) -> Structure:
    """Return an element's standard structure: a crystal at the measured lattice, or a molecule.

    The data are ASE's ``reference_states``.

    Raises:
        InputError: if ASE does not know the structure.
    """
    from ase.data import atomic_numbers, reference_states
    from pymatgen.io.ase import AseAtomsAdaptor

    from logan_campaign.sources.builtin import crystal_of_element

    state: Mapping[str, Any] | None = reference_states[atomic_numbers[symbol]]
    if state is not None and state["symmetry"] == "diatom":
        middle = np.array(_BOX) / 2
        half = np.array([0.0, 0.0, state["d"] / 2])
        return Structure(
            Lattice.orthorhombic(*_BOX),
            [symbol] * 2,
            [middle - half, middle + half],
            coords_are_cartesian=True,
        )
    try:
        atoms = crystal_of_element(symbol)
    except ValueError as err:
        raise InputError(
            f"relax.hull: no structure is known for the element {symbol}; set elements: false and "
            "give it among 'competing'"
        ) from err
    return AseAtomsAdaptor.get_structure(atoms)


def element_level(level: Level, symbol: str) -> Level:
    """Adapt a level to an element: same energies, but a relaxed cell and spin if magnetic.

    Raises:
        InputError: for a level that is not for crystals, or a molecule under pressure.
    """
    if "crystal" not in level.kinds:
        raise InputError(f"relax.hull: level '{level.name}' is not for crystals")
    structure = element_structure(symbol)
    in_box = len(structure) == 2 and structure.volume > 500
    if in_box and level.pressure_gpa:
        raise InputError(
            f"relax.hull: {symbol} is a molecule, which has no enthalpy under pressure; set "
            "elements: false and give a crystal of it among 'competing'"
        )
    return level.for_element(in_box=in_box, spin=symbol in _MAGNETIC)


def check_elements(level: Level, species: Iterable[str]) -> None:
    """Check that every element has a structure and the level is for crystals.

    Raises:
        InputError: if not.
    """
    for symbol in species:
        element_level(level, Element(symbol).symbol)
