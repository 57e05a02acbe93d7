"""QM9 in the CSV files of the PyPI package ``qm9pack``, which is read but never imported.

The package (MIT; data CC0) holds the 130,831 molecules that passed QM9's consistency check.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from logan_campaign.core.errors import InputError

NAME = "qm9pack"

_PARTS = tuple(f"qm9_part{part}.csv" for part in (1, 2, 3))

#: Columns of the fifteen properties, in the order of the raw format.
_PROPERTIES = (
    "RotA_GHz",
    "RotB_GHz",
    "RotC_GHz",
    "Dipole_debye",
    "Polarizability_bohr3",
    "HOMO_au",
    "LUMO_au",
    "HOMO_LUMO_gap_au",
    "R2_bohr2",
    "ZPVE_au",
    "InternalEnergy_0K_au",
    "InternalEnergy_298K_au",
    "Enthalphy_298K_au",
    "GibbsFreeEnergy_298K_au",
    "Heatcapacity_Cv_cal_mol_K",
)


def installed() -> Path | None:
    """Return the folder of the installed package; None if there is none."""
    spec = find_spec(NAME)
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def parts(folder: Path) -> list[Path]:
    """Return the CSV files in the package's folder, or in its ``data``.

    Raises:
        InputError: they are not there.
    """
    for place in (folder, folder / "data", folder / NAME / "data"):
        files = [place / name for name in _PARTS]
        if all(file.is_file() for file in files):
            return files
    raise InputError(f"{folder} does not hold {', '.join(_PARTS)} of the package {NAME}")


def texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and text of each molecule, in QM9's raw format.

    The package has one SMILES and one InChI of each, which stand for both of the raw format.

    Raises:
        InputError: the files are not there, or are damaged.
    """
    for path in parts(folder):
        try:
            with open(path, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file, strict=True):
                    yield f"{row['XYZ_file']}", _raw_text(row).encode()
        except (KeyError, TypeError, AttributeError, ValueError, csv.Error) as err:
            raise InputError(f"{path} is damaged: {err!r}") from err


def _raw_text(row: dict[str, str]) -> str:
    symbols, positions, charges, frequencies = (
        row[name].translate({ord(c): None for c in "[]'\" "}).split(",")
        for name in ("Elements", "XYZ_Ang", "Mulliken_pop", "Harmonic_Freq_cmi")
    )
    lines = [str(len(symbols)), "\t".join([f"gdb {row['Index']}", *(row[p] for p in _PROPERTIES)])]
    for place, (symbol, charge) in enumerate(zip(symbols, charges, strict=True)):
        lines.append("\t".join([symbol, *positions[3 * place : 3 * place + 3], charge]))
    lines.append("\t".join(frequencies))
    lines += [f"{row[name]}\t{row[name]}" for name in ("SMILES", "InChi")]
    return "\n".join(lines) + "\n"
