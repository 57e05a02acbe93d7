"""Commented specs that ``logan-campaign init`` writes."""

MOLECULE = """\
# A LoGAN campaign for molecules. Run it with: logan-campaign run {file}
# Relative paths are meant from the folder of this file.
name: {name}
seed: 0                        # every random choice follows from it

target:                        # what is generated
  kind: molecule
  formula: {formula}
  box: [8.0, 7.0, 6.0]         # edges of the box that holds the molecule (Å)

training:                      # what the models learn from; energies are not used
  source:
    type: builtin              # saturated acyclic alcohols and ethers, C2 to C6,
    name: alcohols-and-ethers  # embedded by RDKit and relaxed with GFN2-xTB
    formulas: [C4H10O, C6H14O]
  # Other sources:
  # source: {{type: files, path: mine.extxyz}}   # a file, folder, glob or list; what ASE reads
  # source: {{type: smiles, smiles: [CCO, COC]}}          # or path: list.smi

known: []                      # further known structures: compared against, never trained on
#  - {{type: builtin, name: alcohols-and-ethers, formulas: [{formula}]}}

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
  cell:                        # lattice vectors, one per row (Å); or cell_from: a_file.cif;
                               # or 'cell: learned' or 'drawn' where it is not known
    - [5.136, 0.000, 0.000]
    - [0.158, 5.133, 0.000]
    - [-2.647, -2.567, 3.575]

training:                      # what the models learn from; energies are not used
  source:
    type: builtin              # the SiO2 crystals among the AFLOW prototypes
    name: sio2-prototypes
  # source: {{type: files, path: mine/*.cif}}    # a file, folder, glob or list; what ASE reads

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
  symmetrize: 0.4              # symmetric to this tolerance (Å) is made so; given cells only
  coverage: 0.8                # no numbers of neighbours that few training atoms have
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
      kpts: [2, 2, 2]
      fmax: 0.05               # largest force at convergence (eV/Å)
      max_steps: 100
"""
