"""The commented spec that ``init`` writes: training set, known set, box or volume of a formula."""

from __future__ import annotations

import json
import os
import string
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from ase.calculators.emt import parameters as EMT_PARAMETERS
from ase.data import atomic_numbers, covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from ase.formula import Formula
from jinja2 import Template
from pymatgen.core import Element, Structure

from logan_campaign.campaign.spec_yaml import FILL_IN
from logan_campaign.campaign.target import first_structure
from logan_campaign.cli.isomers import likely_isomers
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.geometry.formulas import hill_formula, reduced_formula
from logan_campaign.geometry.lewis import usual_valence, why_no_molecule
from logan_campaign.geometry.placement import volumes_for as volumes_for
from logan_campaign.geometry.structures import formula as formula_of
from logan_campaign.geometry.structures import from_atoms, in_compact_cell, validate_atoms
from logan_campaign.sources.builtin import CARBON_COUNTS, alcohol_formula, sio2_cells

#: Elements and most atoms other than hydrogen of the molecules in QM9.
_QM9_ELEMENTS = set("CHNOF")
_QM9_HEAVY = 9

#: Volume of the box over that of the atoms' van der Waals spheres: 336 Å³ for C5H12O.
_BOX_SHARE = 1.55
_BOX_SHAPE = np.array([8.0, 7.0, 6.0])
_SHORTEST_EDGE = 5.0

#: Mean bond in a row of triple bonds, and what its ends need (Å).
_ROD_BOND, _ROD_ENDS = 1.35, 2.5

#: Elements of molecules whose isomers can be made up, and how many a training set needs.
_NONMETALS = {"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I"}
_FEWEST = 5


class Sets(NamedTuple):
    """Sources to train on and to compare against, in YAML flow style."""

    training: str
    known: str
    about: str
    """Description of the training set for the user."""
    other: str = ""
    """Another source to train on."""


class Example(NamedTuple):
    """A structure in a file, like which others are looked for."""

    kind: Literal["molecule", "crystal"]
    formula: str
    path: Path
    keeps_cell: bool


class State(NamedTuple):
    """What a target states besides its composition."""

    charge: int = 0
    multiplicity: int | None = None
    slab: Path | None = None
    """File with the atoms that are given."""


def read_example(
    path: Path, kind: Literal["molecule", "crystal"] | None, keeps_cell: bool
) -> Example:
    """Read the first structure of a file.

    Args:
        path: the file.
        kind: what it is; None: a crystal if it is periodic.
        keeps_cell: whether its cell is to be kept; if not, the formula is that of a primitive cell.

    Raises:
        InputError: there is no usable structure of this kind.
    """
    atoms = first_structure(path)
    if kind is None:
        kind = "crystal" if atoms.pbc.all() else "molecule"
    if kind == "crystal" and atoms.cell.rank < 3:
        raise InputError(f"the first structure in {path} has no cell: not a crystal")
    atoms.pbc = kind == "crystal"
    try:
        validate_atoms(atoms)
    except StructureError as err:
        raise InputError(f"the first structure in {path} is not usable: {err}") from err
    structure = from_atoms(in_compact_cell(atoms))
    if isinstance(structure, Structure) and not keeps_cell:
        structure = structure.get_primitive_structure()
    if isinstance(structure, Structure):  # as chemists write it: electronegative elements last
        counts = structure.composition
        amounts = ((element.symbol, int(counts[element])) for element in sorted(counts.elements))
        written = "".join(symbol + (str(n) if n > 1 else "") for symbol, n in amounts)
        return Example("crystal", written, path, keeps_cell)
    return Example("molecule", formula_of(structure), path, False)


def starting_spec(
    kind: str,
    formula: str,
    name: str,
    file: str,
    example: Example | None = None,
    state: State = State(),  # noqa: B008 - immutable
    random: bool = False,
) -> tuple[str, Sets]:
    """Return a commented spec and the sets that it names.

    Args:
        kind: 'molecule', 'cluster', 'crystal' or 'slab'.
        formula: of one molecule or one cell.
        name: of the campaign.
        file: path of the spec.
        example: structure that becomes a known one, and gives its cell if it is to be kept.
        state: charge, multiplicity and slab.
        random: whether structures are random, so that there is nothing to train.

    Raises:
        InputError: the slab cannot be read.
    """
    species = set(Formula(formula).count())
    fixed = ""
    if state.slab is not None:
        species |= set(first_structure(state.slab).get_chemical_symbols())
        path = os.path.relpath(state.slab, Path(file).parent)
        fixed = json.dumps(path, ensure_ascii=False)
    by_geometry = kind in ("cluster", "slab") or state.charge or (state.multiplicity or 1) > 1
    sets = _for_other(kind, formula, species) if by_geometry else sets_for(kind, formula)
    known = [sets.known] if sets.known else []
    cell_from = ""
    if example is not None:
        path = os.path.relpath(example.path, Path(file).parent)
        known.insert(0, _source(type="files", path=path, kind=kind))
        cell_from = json.dumps(path, ensure_ascii=False) if example.keeps_cell else ""
    size = list(volumes_for(formula)) if kind == "crystal" else box_for(formula)
    template = (files("logan_campaign.cli") / "spec.yaml.jinja").read_text(encoding="utf-8")
    text = Template(template, trim_blocks=True, keep_trailing_newline=True).render(
        **{**sets._asdict(), "known": known},
        kind=kind,
        formula=formula,
        name=name,
        file=file,
        size=size,
        cell_from=cell_from,
        state=state,
        fixed=fixed,
        by_geometry=by_geometry,
        random=random,
        has_emt=species <= EMT_PARAMETERS.keys() and any(map(_is_metal, species)),
    )
    return text, sets


def sets_for(kind: str, formula: str) -> Sets:
    """Return the sets for a composition; the training set does not contain it.

    If no suitable source is known, the user has to fill in the training set.

    Args:
        kind: 'molecule' or 'crystal'.
        formula: of one molecule or one cell.
    """
    return _for_crystal(formula) if kind == "crystal" else _for_molecule(formula)


def _for_other(kind: str, formula: str, species: set[str]) -> Sets:
    """Return the sets for clusters, radicals, ions and what is put on a slab."""
    symbols = sorted(species)
    metals = all(map(_is_metal, symbols))
    if metals and (kind == "cluster" or (kind == "slab" and len(symbols) == 1)):
        source = _source(type="builtin", name="elements", formulas=symbols)
        return Sets(source, "", f"crystals of the elements: {', '.join(symbols)}")
    if kind == "slab":
        found = _for_crystal("".join(symbols))
        return found._replace(known="", other="")
    counts = Counter(Formula(formula).count())
    saturated = hill_formula([*counts.elements(), "H"])
    if kind == "molecule" and why_no_molecule(saturated) is None and _in_qm9(saturated):
        source = _source(type="qm9", formulas=[saturated])
        return Sets(source, "", f"molecules of QM9 with one hydrogen more: {saturated}")
    what = "smaller clusters" if kind == "cluster" else "related molecules, radicals or ions"
    source = _source(type="files", path=f"{FILL_IN} a file of {what}", kind="cluster")
    return Sets(source, "", "to be filled in")


def _is_metal(symbol: str) -> bool:
    return bool(Element(symbol).is_metal)


def box_for(formula: str) -> list[float]:
    """Return edges (Å) of a box for a molecule, from its atoms' van der Waals radii.

    Alvarez, doi 10.1039/c3dt50599e, as tabulated in ASE.
    """
    counts = Formula(formula).count()
    spheres = 0.0
    for symbol, n in counts.items():
        radius = vdw_radii[atomic_numbers[symbol]]
        if not np.isfinite(radius):
            radius = covalent_radii[atomic_numbers[symbol]] + 0.8
        spheres += n * 4.0 / 3.0 * np.pi * radius**3
    scale = np.cbrt(_BOX_SHARE * spheres / _BOX_SHAPE.prod())
    edges = np.maximum(scale * _BOX_SHAPE, _SHORTEST_EDGE)
    # no conformer folds a row of triple bonds, with an atom at each end
    valences = sum(n * (usual_valence(symbol) - 2) for symbol, n in counts.items())
    n_inner = sum(n for symbol, n in counts.items() if usual_valence(symbol) > 1)
    in_row = min(n_inner - 1, 2 * ((valences + 2) // 4) + 1)
    edges[0] = max(edges[0], _ROD_BOND * in_row + _ROD_ENDS)
    return [float(edge) for edge in edges.round(1)]


def _for_molecule(formula: str) -> Sets:
    counts = Counter(Formula(formula).count())
    own = hill_formula(formula)
    homologues = [_with_carbons(counts, change) for change in (-1, 1)]
    offered = [alcohol_formula(n) for n in CARBON_COUNTS]
    chosen = [name for name in homologues if name in offered]
    if chosen and own in [*offered, alcohol_formula(1), alcohol_formula(CARBON_COUNTS.stop)]:
        known = [own] if own in offered else []
        return Sets(
            _source(type="builtin", name="alcohols-and-ethers", formulas=chosen),
            _source(type="builtin", name="alcohols-and-ethers", formulas=known) if known else "",
            f"saturated acyclic alcohols and ethers: {', '.join(chosen)}",
        )
    chosen = [name for name in homologues if name and _in_qm9(name)]
    covered = {symbol for name in chosen for symbol in Formula(name).count()}
    if chosen and set(counts) <= covered:
        known = [own] if _in_qm9(own) else []
        return Sets(
            _source(type="qm9", formulas=chosen),
            _source(type="qm9", formulas=known) if known else "",
            f"molecules of QM9, one CH2 more or less: {', '.join(chosen)}",
        )
    if set(counts) <= _NONMETALS:
        made_up = [smiles for name in homologues if name for smiles in likely_isomers(name, 40)]
        if len(made_up) >= _FEWEST:
            return Sets(
                _source(type="smiles", smiles=made_up),
                "",
                "made up: some graphs with one CH2 more or less; add and remove what you like",
            )
    return _to_fill_in(f"molecules with {', '.join(sorted(counts))}")


def _for_crystal(formula: str) -> Sets:
    own = hill_formula(formula)
    if reduced_formula(own) == "O2Si":
        cells = sio2_cells()
        others = [name for name in cells if name != own]
        return Sets(
            _source(type="builtin", name="sio2-prototypes", formulas=others),
            _source(type="builtin", name="sio2-prototypes", formulas=[own]) if own in cells else "",
            "SiO2 crystals among the AFLOW prototypes, with other numbers of atoms",
        )
    counts = Formula(reduced_formula(own)).count()
    elements = sorted(counts)
    named = ",".join(f'"{symbol}"' for symbol in elements)
    reduced = "".join(s + (str(counts[s]) if counts[s] > 1 else "") for s in elements)
    # one element more than the target, so that every target has some entries
    holds = f"elements HAS ALL {named} AND nelements<={len(elements) + 1} AND nsites<=20"
    return Sets(
        _source(
            type="optimade",
            providers=["mp"],
            filter=f'{holds} AND chemical_formula_reduced!="{reduced}"',
            max_structures=200,
        ),
        _source(type="optimade", providers=["mp"], filter=f'chemical_formula_reduced="{reduced}"'),
        f"crystals with {', '.join(elements)} and at most one further element, by OPTIMADE",
        _substitute(counts) if len(counts) > 1 else "",
    )


def _substitute(counts: dict[str, int]) -> str:
    """Return a source of crystals with the same proportions and the same anion, replaced."""
    anion = max(map(Element, counts)).symbol  # pymatgen orders by electronegativity
    amounts = zip(string.ascii_uppercase, sorted(counts.values(), reverse=True), strict=False)
    anonymous = "".join(letter + (str(n) if n > 1 else "") for letter, n in amounts)
    query = f'chemical_formula_anonymous="{anonymous}" AND elements HAS "{anion}" AND nsites<=20'
    return _source(
        type="substitute",
        of={"type": "optimade", "providers": ["mp"], "filter": query, "max_structures": 500},
    )


def _to_fill_in(what: str) -> Sets:
    return Sets(_source(type="files", path=f"{FILL_IN} a file of {what}"), "", "to be filled in")


def _with_carbons(counts: Counter[str], change: int) -> str:
    """Return the formula with CH2 added or removed; empty if there is none."""
    changed = counts + Counter()
    changed["C"] += change
    changed["H"] += 2 * change
    if min(changed["C"], changed["H"]) < 0 or changed["H"] > _most_hydrogens(changed):
        return ""
    left = [symbol for symbol, n in changed.items() for _ in range(n)]
    return hill_formula(left) if set(left) - {"H"} else ""


def _most_hydrogens(counts: Counter[str]) -> int:
    own = {symbol: usual_valence(symbol) for symbol in counts if symbol != "H"}
    return 2 + sum((own[symbol] - 2) * counts[symbol] for symbol in own)


def _in_qm9(formula: str) -> bool:
    counts = Formula(formula).count()
    heavy = sum(n for symbol, n in counts.items() if symbol != "H")
    return set(counts) <= _QM9_ELEMENTS and heavy <= _QM9_HEAVY


def _source(**settings: object) -> str:
    # JSON is YAML; all strings are quoted, so that none is read as a number
    return json.dumps(settings, ensure_ascii=False)
