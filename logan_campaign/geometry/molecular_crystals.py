"""Whole molecules in crystals: CO2, ice, urea."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pymatgen.core import Structure

from logan_campaign.geometry.formulas import hill_formula
from logan_campaign.geometry.molecules import perceive_smiles
from logan_campaign.geometry.neighbours import find_bonds


def whole_molecules(structure: Structure) -> dict[str, int]:
    """Return the molecules of a crystal, by SMILES or Hill formula, and how many the cell has.

    Bonds are found by distance and followed across cell faces; pymatgen says which parts are
    finite (Larsen et al., doi 10.1103/PhysRevMaterials.3.034003).

    Returns:
        Nothing for single atoms, frameworks, layers and chains, also beside molecules, nor for
        crystals with metals or metalloids, which are not looked at: it takes 50 ms.
    """
    if any(site.specie.is_metal or site.specie.is_metalloid for site in structure):
        return {}
    from pymatgen.analysis.dimensionality import get_structure_components
    from pymatgen.core.graphs import StructureGraph

    numbers = np.array(structure.atomic_numbers)
    bonds = find_bonds(numbers, structure.cart_coords[None], structure.lattice.matrix[None])
    if len(np.unique(bonds.first)) < len(numbers):
        return {}
    graph = StructureGraph.from_empty_graph(structure)
    for i, j, image in zip(bonds.first, bonds.second, bonds.image, strict=True):
        if i < j:  # each bond once; an atom bonded to its own image is in no molecule
            graph.add_edge(int(i), int(j), to_jimage=(int(image[0]), int(image[1]), int(image[2])))
        elif i == j:
            return {}
    parts = get_structure_components(graph, inc_molecule_graph=True)
    if any(part["dimensionality"] for part in parts):
        return {}
    molecules = [part["molecule_graph"].molecule for part in parts]
    found = Counter(
        perceive_smiles(one) or hill_formula([site.specie.symbol for site in one])
        for one in molecules
    )
    return dict(sorted(found.items()))
