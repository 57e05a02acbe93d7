"""Derivative structures, counted as in the literature."""

from __future__ import annotations

import pytest
from derivatives import colourings, derivatives, hermite_form, hermite_forms
from pymatgen.core import Structure


@pytest.mark.parametrize("lattice", ["fcc", "bcc"])
def test_there_are_as_many_as_published(lattice):
    # Hart and Forcade, doi:10.1103/PhysRevB.77.224115, table IV; exchanged colours counted once
    for size, number in {2: 2, 3: 3, 4: 12, 5: 14, 6: 50}.items():
        found = [colours for _, _, colours in colourings(lattice, size)]
        even = sum(2 * colours.sum() < size for colours in found)
        assert even == sum(2 * colours.sum() > size for colours in found)  # by exchange
        balanced = len(found) - 2 * even
        assert even + balanced / 2 <= number <= even + balanced


def test_superlattices_have_one_form_each():
    # as many as sublattices of index n of Z^3: 1, 7, 13, 35, 31, 91, 57, 155
    numbers = [sum(1 for _ in hermite_forms(size)) for size in range(1, 9)]
    assert numbers == [1, 7, 13, 35, 31, 91, 57, 155]
    for form in hermite_forms(6):
        assert (hermite_form(form[[2, 0, 1]] * [[-1], [1], [1]]) == form).all()


def test_ordered_alloys_are_among_them():
    def groups(lattice, sizes, formula) -> set[str]:
        made: list[Structure] = list(derivatives(lattice, ("Cu", "Au"), sizes, (12.0, 17.0)))
        found = [s for s in made if s.composition.reduced_formula == formula]
        return {s.get_space_group_info()[0] for s in found}

    assert "P4/mmm" in groups("fcc", [2], "CuAu")  # L1_0
    assert "Pm-3m" in groups("fcc", [4], "Cu3Au")  # L1_2
    assert "Pm-3m" in groups("bcc", [2], "CuAu")  # B2
