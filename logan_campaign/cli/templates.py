"""Commented specs that ``logan-campaign init`` writes.

What a spec learns from follows from the formula: a built-in set where one fits, without the
target's own composition; otherwise the place is left open, and the spec says so when run.
"""

from __future__ import annotations

import math

from ase.data import chemical_symbols
from ase.formula import Formula

from logan_campaign.sources.base import FILL_IN

#: Volume (Å³) per atom of the box that held C5H12O well, and its edges there (Å).
_BOX_EDGES = (8.0, 7.0, 6.0)
_BOX_ATOMS = 18
_LEAST_EDGE = 4.5

#: Carbon atoms of the alcohols and ethers that come with the package.
_ALCOHOLS = range(2, 7)

MOLECULE = """\
# A LoGAN campaign for molecules. Run it with: logan-campaign run {file}
# Relative paths are meant from the folder of this file.
name: {name}
seed: 0                        # every random choice follows from it

target:                        # what is generated
  kind: molecule
  formula: {formula}
  box: {box}         # edges of the box that holds the molecule (Å)

training:                      # what the models learn from; energies are not used
  source:
{source}
  # Other sources:
  # source: {{type: files, path: mine.extxyz}}   # a file, folder, glob or list; what ASE reads
  # source: {{type: smiles, smiles: [CCO, COC]}}          # or path: list.smi

known: []                      # further known structures: compared against, never trained on
#  - {{type: files, path: targets.sdf}}

models:                        # the ensemble
  count: 4                     # members; each has a seed of its own
  hyperparameters:
    method: descent            # from random starts to known environments, without training;
    keep: 1.0                  #   wgan: networks as in the paper (steps: 4000, n_neighbour: 12)
    exchange: 0.75             # share that begins with an earlier one, two groups exchanged
  vary:                        # members walk through all combinations
    r_cut: [5.0, 6.0]          # cutoff radius (Å)

generate:
  per_model: 300               # structures per model (wgan: 1000 cost no more)

select:                        # one structure per molecular graph
  strategy: graph              # or kmeans, as in the paper: PCA of structure descriptors (eq. 8)
  n_picks: 40

relax:                         # levels, cheap ones first; copies are merged between levels
  levels:
    - name: xtb
      calculator: gfn2-xtb
      fmax: 0.05               # largest force at convergence (eV/Å)
      max_steps: 500
    - name: lcao
      calculator: gpaw
      mode: lcao
      basis: dzp
      xc: LDA
      vacuum_angstrom: 3.0
      fmax: 0.05
      max_steps: 200
"""

CRYSTAL = """\
# A LoGAN campaign for crystals. Run it with: logan-campaign run {file}
# Relative paths are meant from the folder of this file.
name: {name}
seed: 0                        # every random choice follows from it

target:                        # what is generated
  kind: crystal
  formula: {formula}           # one cell
{cell}

training:                      # what the models learn from; energies are not used
  source:
{source}
  # Other sources:
  # source: {{type: files, path: mine/*.cif}}    # a file, folder, glob or list of them
  # source: {{type: mp, formulas: [...]}}         # the Materials Project; needs a key

known: []                      # further known structures: compared against, never trained on
#  - {{type: files, path: target.cif}}

models:                        # the ensemble
  count: 4                     # members; each has a seed of its own
  hyperparameters:
    method: descent            # from random starts to known environments, without training;
    keep: 0.25                 #   wgan: networks as in the paper (steps: 1000, n_max: 4, ...)
  vary:                        # members walk through all combinations
    n_max: [3, 4]              # resolution of the descriptor

generate:
  per_model: 100               # structures per model (wgan: 500 cost no more)

select:                        # one structure per bonded network and space group
  strategy: framework          # or kmeans, as in the paper: PCA of structure descriptors (eq. 8)
{symmetrize}  coverage: 0.8                # no numbers of neighbours that few training atoms have
  n_picks: 10

match:
  tolerance: default           # strict | default | loose (pymatgen's StructureMatcher)

relax:                         # levels, cheap ones first; copies are merged between levels
  reference: true              # relax the known entries of this composition too, to compare
  levels:
    - name: pw
      calculator: gpaw
      mode: pw
      ecut_ev: 400.0           # plane-wave cutoff (eV)
      xc: LDA
{kpts}
      fmax: 0.05               # largest force at convergence (eV/Å)
      max_steps: 100
"""

_GIVEN_CELL = """\
  cell:                        # lattice vectors, one per row (Å); or cell_from: a_file.cif;
                               # or 'cell: learned' or 'drawn' where it is not known
    - [5.136, 0.000, 0.000]
    - [0.158, 5.133, 0.000]
    - [-2.647, -2.567, 3.575]"""

_FOUND_CELL = """\
  cell: drawn                  # at random for each structure, volumes as in the training set;
                               # or three rows (Å), or cell_from: a_file.cif, where it is known"""

_GIVEN_KPTS = "      kpts: [2, 2, 2]"

_FOUND_KPTS = """\
      kpts: {density: 2.5}     # k-points per 1/Å: cells differ in size
      relax_cell: true"""

_ALCOHOL_SOURCE = """\
    type: builtin              # saturated acyclic alcohols and ethers, C2 to C6,
    name: alcohols-and-ethers  # embedded by RDKit and relaxed with GFN2-xTB
    formulas: [{formulas}]"""

_SILICA_SOURCE = """\
    type: builtin              # the SiO2 crystals among the AFLOW prototypes
    name: sio2-prototypes"""

_OPEN_SOURCE = """\
    type: files
    path: {fill_in}              # to be filled in: {what}"""


def write_spec(kind: str, name: str, file: str, formula: str) -> str:
    """Return a commented spec.

    Args:
        kind: ``molecule`` or ``crystal``.
        name: of the campaign.
        file: where it will stand, as the user names it.
        formula: composition of one molecule or one cell.
    """
    counts = Formula(formula).count()
    about = {"name": name, "file": file, "formula": formula}
    if kind == "molecule":
        edges = [_edge(edge, sum(counts.values())) for edge in _BOX_EDGES]
        return MOLECULE.format(**about, box=edges, source=_molecules(counts))
    silica = set(counts) == {"Si", "O"} and counts["O"] == 2 * counts["Si"]
    given = silica and counts["Si"] == 2
    return CRYSTAL.format(
        **about,
        cell=_GIVEN_CELL if given else _FOUND_CELL,
        source=_SILICA_SOURCE if silica else _open(counts, "crystals"),
        kpts=_GIVEN_KPTS if given else _FOUND_KPTS,
        symmetrize=_SYMMETRIZE if given else "",
    )


_SYMMETRIZE = """\
  symmetrize: 0.4              # symmetric to this tolerance (Å) is made so; given cells only
"""


def _edge(edge: float, n_atoms: int) -> float:
    return max(_LEAST_EDGE, math.ceil(2 * edge * (n_atoms / _BOX_ATOMS) ** (1 / 3)) / 2)


def _molecules(counts: dict[str, int]) -> str:
    n = counts.get("C", 0)
    if counts == {"C": n, "H": 2 * n + 2, "O": 1} and n + 1 >= _ALCOHOLS.start:
        # the nearest compositions on either side, never the target's own
        near = sorted((k for k in _ALCOHOLS if k != n), key=lambda k: (abs(k - n), k))[:2]
        formulas = ", ".join(f"C{k}H{2 * k + 2}O" for k in sorted(near))
        return _ALCOHOL_SOURCE.format(formulas=formulas)
    return _open(counts, "molecules")


def _open(counts: dict[str, int], kind: str) -> str:
    elements = ", ".join(sorted(counts, key=chemical_symbols.index))
    what = f"files with {kind} of {elements}"
    what += (
        " other than the target's formula" if kind == "molecules" else " (a folder of CIFs, ...)"
    )
    return _OPEN_SOURCE.format(fill_in=FILL_IN, what=what)
