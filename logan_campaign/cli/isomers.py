"""Isomers of a composition that ``init`` proposes to train on, where no source holds any."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula
from rdkit import Chem, rdBase

from logan_campaign.generators.descent.graphs import any_molecule, exchange_bonds
from logan_campaign.geometry.lewis import name_of, skeleton

#: Exchanges of bonds to try, and how many without a new isomer are enough.
_EXCHANGES, _PATIENCE = 400, 60

_HETERO = "[#7,#8,#9,#16,#17,#34,#35,#53]"

#: What stable molecules rarely have: heteroatoms side by side, cumulated double bonds, double bonds
#: in small rings and triple ones in any, fused small rings, cages, enols and their like, two
#: heteroatoms on one carbon if one of them has hydrogen.
_UNLIKELY = tuple(
    Chem.MolFromSmarts(text)
    for text in (
        f"{_HETERO}~{_HETERO}",
        "*=*=*",
        "[r3,r4]=[r3,r4]",
        "[R]#[R]",
        "[R2;r3,r4]",
        "[R3]",
        "[#6;!a]=,#[#6][#8H,#16H,#7H,#7H2]",
        "[#7,#8,#16][#6X4][#8H,#16H,#7H,#7H2]",
    )
)


def likely_isomers(formula: str, n: int) -> list[str]:
    """Return the SMILES of up to ``n`` molecules of a composition, drawn at random.

    From a random graph on, bonds are exchanged; unsaturated compositions give few or none. Graphs
    with groups that stable molecules rarely have are left out. The result depends on the formula
    alone.

    Args:
        formula: such as ``'C4H9Cl'``.
        n: maximum number.

    Returns:
        Sorted SMILES; none if no likely molecule is found.
    """
    rng = np.random.default_rng(0)
    counts = Formula(formula).count()
    numbers = np.repeat([atomic_numbers[s] for s in counts], list(counts.values()))
    current, lowest = any_molecule(numbers, rng), np.inf
    found: dict[str, int] = {}
    with rdBase.BlockLogs():
        for step in range(_EXCHANGES):
            drawn = current and exchange_bonds(current, rng)
            name = name_of(skeleton(drawn)) if drawn is not None else None
            plain = Chem.MolFromSmiles(name.smiles) if name is not None else None
            if name is None or plain is None:
                continue
            unlikely = sum(len(plain.GetSubstructMatches(pattern)) for pattern in _UNLIKELY)
            if unlikely == 0:
                found.setdefault(name.smiles, step)
            # it has no isomers, or none is needed or left
            waited = step - max(found.values(), default=step)
            if drawn is current or len(found) == n or waited > _PATIENCE:
                break
            if rng.random() < np.exp(lowest - unlikely):  # as in a Monte Carlo simulation
                current, lowest = drawn, unlikely
    return sorted(found)
