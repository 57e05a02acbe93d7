"""Small pictures of structures as SVG: drawings of molecules, views of crystals."""

from __future__ import annotations

import io
from typing import Any

from pymatgen.core import Structure

from logan_campaign.geometry.structures import to_atoms
from logan_campaign.stores.records import CandidateRecord

#: Width and height (pixels).
SIZE = (240, 170)


def picture(candidate: CandidateRecord) -> str:
    """Return a picture of a candidate: its 2D drawing by RDKit, or else its atoms in 3D.

    Args:
        candidate: read with its structures.
    """
    structure = candidate.structure or candidate.raw_structure
    if candidate.smiles or structure is None:
        from rdkit import Chem
        from rdkit.Chem.Draw import rdMolDraw2D

        drawer = rdMolDraw2D.MolDraw2DSVG(*SIZE)
        options: Any = drawer.drawOptions()
        options.clearBackground = False
        options.padding = 0.1
        drawer.DrawMolecule(Chem.MolFromSmiles(candidate.smiles or "") or Chem.Mol())
        drawer.FinishDrawing()
        return str(drawer.GetDrawingText())
    from ase.visualize.plot import plot_atoms
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    atoms = to_atoms(structure)
    if isinstance(structure, Structure):
        atoms.wrap(eps=1e-6)
    figure = Figure(figsize=(SIZE[0] / 72, SIZE[1] / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    plot_atoms(atoms, axes, rotation="-70x,-20y,-8z", show_unit_cell=2)
    axes.set_axis_off()
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "logan-campaign"}):  # equal structures, equal pictures
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
