"""The periodic table by which lists are filtered."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from pymatgen.core import Element


class Cell(NamedTuple):
    """An element, its place in the table, and whether there is anything that contains it."""

    symbol: str
    name: str
    row: int
    column: int
    present: bool


def periodic_table(present: Collection[str]) -> list[Cell]:
    """Return the elements by atomic number, with f elements in two rows below the others."""
    found = []
    for element in sorted(
        (Element(name) for name in Element.__members__ if name not in ("D", "T")),
        key=lambda one: one.Z,
    ):
        in_f_block = element.is_lanthanoid or element.is_actinoid
        column = 3 + (element.Z - 57) % 32 if in_f_block else element.group
        row = element.row + 2 if in_f_block else element.row
        symbol = element.symbol
        found.append(Cell(symbol, element.long_name, row, column, symbol in present))
    return found
