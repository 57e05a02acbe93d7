"""Commented specs that ``logan-campaign init`` writes."""

from __future__ import annotations

from logan_campaign.cli.starting import Sets, box_for, sets_for, volumes_for


def starting_spec(kind: str, formula: str, name: str, file: str) -> tuple[str, Sets]:
    """Return a commented spec and the sets that it names.

    Args:
        kind: 'molecule' or 'crystal'.
        formula: of one molecule or one cell.
        name: of the campaign.
        file: path of the spec.
    """
    sets = sets_for(kind, formula)
    size = volumes_for(formula) if kind == "crystal" else box_for(formula)
    text = (_CRYSTAL if kind == "crystal" else _MOLECULE).format(
        name=name,
        file=file,
        formula=formula,
        size=size,
        training=sets.training,
        about=sets.about,
        known=f"\n  - {sets.known}" if sets.known else " []",
    )
    return text, sets


_HEAD = """\
# Run it with: logan-campaign run {file}
# Relative paths start from the folder of this file.
name: {name}
seed: 0                        # determines every random choice
"""

_SETS = """\
training:                      # what the models learn from; energies are not used
  # {about}
  source: {training}
  # Other sources:
  # source: {{type: files, path: mine.extxyz}}   # a file, folder, glob or list; any format of ASE
"""

_KNOWN = """\
# further known structures: compared against, never trained on
known:{known}
"""

_MOLECULE = (
    "# A LoGAN campaign for molecules.\n"
    + _HEAD
    + """
target:                        # what is generated
  kind: molecule
  formula: "{formula}"
  box: {size}       # edges of the box that holds the molecule (Å)

"""
    + _SETS
    + "  # source: {{type: smiles, smiles: [CCO, COC]}}          # or path: list.smi\n\n"
    + _KNOWN
    + """
models:                        # the ensemble
  count: 4                     # members; each has a seed of its own
  hyperparameters:
    method: descent            # from random starts to known environments, without training;
    keep: 1.0                  #   wgan: networks as in the paper (steps: 4000, n_neighbour: 12)
    exchange: 0.75             # fraction that starts from an earlier one with two groups exchanged
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
)

_CRYSTAL = (
    "# A LoGAN campaign for crystals.\n"
    + _HEAD
    + """
target:                        # what is generated
  kind: crystal
  formula: "{formula}"           # one cell
  cell: learned                # or drawn; or three rows of lattice vectors (Å), or cell_from: a.cif
  volume_per_atom: {size}  # lowest and highest (Å³), estimated from covalent radii

"""
    + _SETS
    + "\n"
    + _KNOWN
    + """
models:                        # the ensemble
  count: 4                     # members; each has a seed of its own
  hyperparameters:
    method: descent            # from random starts to known environments, without training;
    keep: 0.25                 #   wgan: networks as in the paper (steps: 1000, n_max: 4, ...)
  vary:                        # members walk through all combinations
    n_max: [3, 4]              # resolution of the descriptor

generate:
  per_model: 100               # structures per model (wgan: 500 cost no more)

select:                        # one structure per net and space group
  strategy: framework          # or kmeans, as in the paper: PCA of structure descriptors (eq. 8)
  coverage: 0.8                # no coordination numbers that are rare in the training set
  # symmetrize: 0.4            # symmetrize within this tolerance (Å); given cells only
  n_picks: 10

match:
  tolerance: default           # strict | default | loose (pymatgen's StructureMatcher)

relax:                         # levels, cheap ones first; copies are merged between levels
  # reference: true            # relax the known entries of this composition too, to compare
  levels:
    - name: pw
      calculator: gpaw
      mode: pw
      ecut_ev: 800.0           # plane-wave cutoff (eV); stresses need a high one
      xc: LDA
      kpts: {{density: 1.5}}     # follows the cell
      relax_cell: true         # needed unless the cell is given
      fmax: 0.05               # largest force at convergence (eV/Å)
      max_steps: 200
"""
)
