"""Blocks of a CIF: accepted only if complete, ordered and of their stated formula.

pymatgen reads the cell, the symmetry and the sites. It ignores some items (disorder groups,
attached hydrogens, a formula of other atoms), which are checked here on the raw block. Data names:
International Tables for Crystallography G (2006), chapter 4.1.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from pymatgen.core import Composition, Structure

from logan_campaign.core.errors import StructureError
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.sources.base import short

#: Largest deviation from 1 of the occupancy of a full site.
OCCUPANCY_TOLERANCE = 1e-3

_UNKNOWN = (".", "?")
_ELEMENTS = {*atomic_numbers, "D", "T"} - {"X"}


def cif_blocks(text: str) -> Iterator[tuple[str, Atoms | StructureError]]:
    """Yield label and structure of each block of a CIF that lists atoms.

    The label is the number of the block, from 0, and its name if there are several. Instead of an
    unusable structure, the error is yielded.
    """
    parts = re.split(r"^\s*data_", text, flags=re.MULTILINE | re.IGNORECASE)[1:]
    number = 0
    for part in parts:
        name = part.split(None, 1)[0] if part.strip() and not part[0].isspace() else ""
        label = f"{number} (data_{name})" if len(parts) > 1 else str(number)
        try:
            if not re.search(r"^\s*_atom_site[_.]", part, re.MULTILINE | re.IGNORECASE):
                if len(parts) > 1:
                    continue  # a block without atoms
                raise StructureError("the block lists no atoms")
            yield label, _block(f"data_{part}")
        except StructureError as err:
            yield label, err
        number += 1


def _block(text: str) -> Atoms:
    from pymatgen.io.cif import CifBlock, CifParser  # brings SciPy

    try:
        parsed = CifBlock.from_str(text)
    except Exception as err:
        raise StructureError("not a readable CIF block") from err
    block = parsed.data
    given = {key.lower(): value for key, value in block.items()}
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"):
        if not 0.0 < _number(str(given.get(f"_cell_{name}", ""))) < np.inf:
            raise StructureError(f"the block gives no usable cell: _cell_{name}")
    if _number(str(given.get("_cell_modulation_dimension", "0"))) > 0:
        raise StructureError("a modulated structure: its average is no crystal")
    columns = {key.lower(): value for key, value in block.items() if isinstance(value, list)}
    sites = {key[11:]: value for key, value in columns.items() if key.startswith("_atom_site_")}
    names = _check_sites(sites)
    if any(value in _UNKNOWN for value in sites.get("occupancy", [])):
        for key in [key for key in block if key.lower() == "_atom_site_occupancy"]:
            block[key] = ["1"] * len(block[key])  # not stated: full occupancy
        text = str(parsed)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")  # repairs made while reading
        try:
            (structure,) = CifParser.from_str(text, occupancy_tolerance=1.0).parse_structures(
                primitive=False, on_error="raise", check_occu=True
            )
        except Exception as err:
            raise StructureError(_cif_reason(err, [str(w.message) for w in said])) from err
    if any("Defaulting to P1" in str(w.message) for w in said) and (group := _group_named(block)):
        raise StructureError(
            f"space group {group!r} is not known, and no symmetry operations are listed"
        )
    _check_formula_sum(block, structure)
    if len(structure) < len(names):
        raise StructureError("sites of one place: the block lists more atoms than there is room")
    return to_atoms(structure)


def _check_sites(sites: dict[str, list[str]]) -> list[str]:
    """Check the raw loop of sites; return the sites' names."""
    n_sites = max((len(values) for values in sites.values()), default=0)
    names = sites.get("label") or sites.get("type_symbol") or [str(i) for i in range(n_sites)]
    symbols = sites.get("type_symbol") or names
    for axis in "xyz":
        for name, value in zip(
            names, sites.get(f"fract_{axis}", sites.get(f"cartn_{axis}", [])), strict=False
        ):
            if value in _UNKNOWN:
                raise StructureError(f"site {name} has unknown coordinates")
            if not np.isfinite(_number(value)):
                raise StructureError(f"site {name} has the coordinate {short(value)!r}")
    for name, symbol in zip(names, symbols, strict=False):
        _check_symbol(name, symbol)
    for name, value in zip(names, sites.get("occupancy", []), strict=False):
        if value not in _UNKNOWN and not is_full(_number(value)):
            raise StructureError(
                f"structure has disordered sites (partial occupancy): site {name} has {value}"
            )
    for name, value in zip(names, sites.get("attached_hydrogens", []), strict=False):
        if value not in _UNKNOWN and _number(value) != 0:
            raise StructureError(f"site {name} has {value} hydrogens without coordinates")
    for name, value in zip(names, sites.get("calc_flag", []), strict=False):
        if value.lower().startswith("dum"):
            raise StructureError(f"site {name} is a dummy atom")
    for key in ("disorder_group", "disorder_assembly"):
        parts = [value for value in sites.get(key, []) if value not in (*_UNKNOWN, "0")]
        if len(set(parts)) > 1 or (parts and len(parts) < n_sites):
            raise StructureError(f"structure has disordered sites ({key.replace('_', ' ')}s)")
    return list(names)


_SYMBOL = re.compile(r"([A-Z][a-z]?)(?:[-+]?\d*[-+]?|\d+(?:\.\d+)?[-+]|[Cc]val)")
_LABEL = re.compile(r"([A-Z][a-z]?)(?![a-z])")


def _check_symbol(name: str, symbol: str) -> None:
    match = _SYMBOL.fullmatch(symbol.strip()) or (
        _LABEL.match(symbol.strip()) if symbol == name else None
    )
    if match is None or match.group(1) not in _ELEMENTS:
        if re.search(r"\d*\.\d+|[/+,]\s*\d*\.?\d*[A-Z]", symbol):
            raise StructureError(
                f"structure has disordered sites (partial occupancy): {name} is {short(symbol)}"
            )
        raise StructureError(f"unknown species {short(symbol)} of site {name}")


def _number(text: str) -> float:
    """Return a CIF's number without its uncertainty; NaN if it is not a number."""
    try:
        return float(re.sub(r"\(.*\)$", "", text.strip().strip("'\"")))
    except ValueError:
        return float("nan")


def _cif_reason(err: Exception, warned: list[str]) -> str:
    said = " ".join([str(err), *warned])
    if "occupanc" in said.lower():
        return "structure has disordered sites (partial occupancy): sites share one place"
    return "the block cannot be read: its sites or its symmetry are incomplete"


def _group_named(block: dict[str, Any]) -> str | None:
    """Return the space group that a block names, unless it is P1."""
    for key, value in block.items():
        if re.search(r"space_group.*(name_h-m|it_number|name_hall)", key, re.IGNORECASE):
            text = str(value).replace(" ", "").strip("'\"")
            if text not in (*_UNKNOWN, "", "P1", "p1", "1"):
                return str(value)
    return None


def _check_formula_sum(block: dict[str, Any], structure: Structure) -> None:
    stated = next((v for k, v in block.items() if k.lower() == "_chemical_formula_sum"), None)
    if not isinstance(stated, str) or stated.strip() in (*_UNKNOWN, ""):
        return
    text = re.sub(r"\b[DT](?=[\d\s]|$)", "H", stated.strip("'\" "))
    try:
        wanted = Composition(re.sub(r"(?<=[A-Za-z\d])\s+", "", text))
    except (ValueError, KeyError):
        return  # not a formula: no statement
    found = structure.composition.element_composition
    one, other = wanted.fractional_composition, found.fractional_composition
    if not one.almost_equals(other, rtol=1e-3, atol=1e-4):
        raise StructureError(
            f"the file states {short(stated)} and lists {found.reduced_formula}: "
            "atoms are missing or too many"
        )
    units = next((v for k, v in block.items() if k.lower() == "_cell_formula_units_z"), "?")
    z = _number(str(units))
    # Some programs state the formula of the whole cell; Z then counts reduced formulas.
    of_unit = wanted.num_atoms, wanted.reduced_composition.num_atoms
    if z > 0 and not any(abs(n * z - len(structure)) < 0.5 for n in of_unit):
        raise StructureError(
            f"the file states {units} units of {short(stated)} in the cell and lists "
            f"{len(structure)} atoms: atoms are missing or too many"
        )


def is_full(value: Any) -> bool:
    """Return whether an occupancy is 1 within :data:`OCCUPANCY_TOLERANCE`."""
    try:
        return abs(float(value) - 1) <= OCCUPANCY_TOLERANCE
    except (TypeError, ValueError):
        return False
