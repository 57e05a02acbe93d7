"""Energy above the convex hull of the phases that a campaign computed at one level.

Energies are comparable only within one level (functional, cutoff, data sets). The hull is
therefore made of the campaign's candidates, its known entries and competing phases relaxed at
that level, and the elements. It is not the hull of the Materials Project, whose energies come
from other settings and thousands of phases. Phases that were not computed are missing, so the
energy above this hull is a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from pymatgen.core import Composition, Element, Lattice, Structure

from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.base import Level

#: Cell edges for molecules of elements (Å); unequal, to avoid symmetry among images.
_BOX = (8.0, 8.25, 8.5)
#: Elements with a magnetic ground state, computed with spin polarisation.
_MAGNETIC = frozenset({"O", "Cr", "Mn", "Fe", "Co", "Ni", "Gd"})


class HullEntry(NamedTuple):
    """A computed phase."""

    id: str
    formula: str
    energy_ev: float  # of that formula


def above_hull(entries: Iterable[HullEntry]) -> dict[str, float]:
    """Return each entry's energy above the hull of all of them (eV/atom).

    S. P. Ong et al., Chemistry of Materials 20, 1798 (2008), doi:10.1021/cm702327g.

    Args:
        entries: computed phases of one level.

    Returns:
        Energy by id; empty unless every element among them has an entry.
    """
    # it takes a second to import, and few campaigns have a hull
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

    made = [PDEntry(Composition(e.formula), e.energy_ev, name=e.id) for e in entries]
    elements = {element for entry in made for element in entry.composition.elements}
    pure = {entry.composition.elements[0] for entry in made if entry.is_element}
    if not made or elements - pure:
        return {}
    diagram = PhaseDiagram(made)
    above = {entry.name: diagram.get_e_above_hull(entry, on_error="raise") for entry in made}
    return {name: max(0.0, energy) for name, energy in above.items() if energy is not None}


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
        InputError: for a level that is not for crystals.
    """
    if "crystal" not in level.kinds:
        raise InputError(f"relax.hull: level '{level.name}' is not for crystals")
    structure = element_structure(symbol)
    in_box = len(structure) == 2 and structure.volume > 500
    return level.for_element(in_box=in_box, spin=symbol in _MAGNETIC)


def check_elements(level: Level, species: Iterable[str]) -> None:
    """Check that every element has a structure and the level is for crystals.

    Raises:
        InputError: if not.
    """
    for symbol in species:
        element_level(level, Element(symbol).symbol)
