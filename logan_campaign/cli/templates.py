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
    steps: 4000                # generator updates (the paper: 60,001)
    radial: bessel             # or gaussian
    n_neighbour: 12            # nearest atoms in a descriptor
  vary:                        # members walk through all combinations
    r_cut: [5.0, 6.0]          # cutoff radius (Å)
    n_max: [3]                 # resolution of the descriptor

generate:
  per_model: 1000              # structures per model

select:                        # structure descriptor (eq. 8), PCA, k-means, nearest to centroid
  strategy: kmeans
  n_picks: 40
  scope: union                 # or per_model

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
  cell:                        # lattice vectors, one per row (Å); or cell_from: a_file.cif
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
    steps: 1000                # generator updates (the paper: 45,001)
    learning_rate: 3.16e-4
    n_max: 4                   # resolution of the descriptor
    r_cut: 4.0                 # cutoff radius (Å)
    rattle_copies: 10          # rattled copies of each training structure
    rattle_stdev: 0.03         # standard deviation of the rattling (Å)
    environments_per_species: 20  # taken from each training structure
  vary:                        # members walk through all combinations
    radial: [bessel, gaussian]
    n_neighbour: [12]

generate:
  per_model: 500               # structures per model

select:                        # structure descriptor (eq. 8), PCA, k-means, nearest to centroid
  strategy: kmeans
  n_picks: 10
  scope: union                 # or per_model

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
