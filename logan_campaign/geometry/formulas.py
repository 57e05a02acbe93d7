"""Chemical formulas."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from ase.data import chemical_symbols
from ase.formula import Formula

from logan_campaign.core.errors import InputError

#: Largest number of atoms in a structure or formula, and its longest text (characters).
MAX_ATOMS = 10_000


MAX_FORMULA_LENGTH = 200


def hill_formula(formula_or_symbols: str | Sequence[str]) -> str:
    """Return a composition in Hill order: ``'SiO2'`` and ``['Si', 'O', 'O']`` give ``'O2Si'``.

    Raises:
        InputError: if it is not a chemical formula of known elements.
    """
    counted: dict[str, int]
    if isinstance(formula_or_symbols, str):
        # SiO₂ is SiO2
        text = unicodedata.normalize("NFKC", formula_or_symbols.strip())
        counted = _count_formula(text)
    else:
        text, counted = "", Counter(formula_or_symbols)
    for symbol in counted:
        if symbol not in chemical_symbols[1:]:
            raise InputError(f"unknown species {symbol!r} in formula {text!r}")
    if not counted or min(counted.values()) < 1:
        raise InputError(f"not a chemical formula: {text!r}")
    return Formula.from_dict(counted).format("hill")


def _count_formula(text: str) -> dict[str, int]:
    if re.search(r"[-+]|\^", text):
        raise InputError(f"not a chemical formula: {text!r}: charges are not supported")
    # ASE would take a sum, a product or a phase for a formula.
    if len(text) > MAX_FORMULA_LENGTH or not re.fullmatch(r"[A-Za-z0-9()]+", text):
        raise InputError(f"not a chemical formula: {_shortened(text)!r}")
    try:
        counted: dict[str, int] = Formula(text, strict=True).count()
    except ValueError as err:
        raise InputError(f"not a chemical formula: {text!r}") from err
    if sum(counted.values()) > MAX_ATOMS:
        raise InputError(f"formula {text!r} has more than {MAX_ATOMS} atoms")
    return counted


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"


def reduced_formula(hill: str) -> str:
    """Return a Hill formula divided by its common factor: ``'O4Si2'`` becomes ``'O2Si'``."""
    return Formula(hill).reduce()[0].format("hill")


def readable_formula(hill: str, kind: str = "crystal") -> str:
    """Return a formula as chemists write it: 'SiO2' for a crystal's cell O4Si2.

    Args:
        hill: Hill formula of a molecule or cell; a chemical system ('Au-Cu') stays as it is.
        kind: of the structure; only formulas of crystals are reduced and reordered.
    """
    if kind != "crystal" or not hill.isalnum():
        return hill
    from pymatgen.core import Composition  # slow to import, and molecules do not need it

    return str(Composition(hill).reduced_formula)
