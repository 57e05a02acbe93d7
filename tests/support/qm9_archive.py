"""Writes archives in the raw format of QM9, of real molecules and of any size.

Molecules are grown from SMILES and embedded by RDKit; their geometries are real, and so
are SMILES and InChI. The properties are MADE UP (numbers that follow from the index), and
so are charges and frequencies: only the format is QM9's. To reach the size of QM9 with
few molecules embedded, ``filler`` repeats molecules with moved atoms.
"""

from __future__ import annotations

import csv
import io
import random
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

#: Number of molecules in QM9.
QM9_SIZE = 133_885


class Molecule:
    """A geometry with its graph."""

    def __init__(self, smiles: str, symbols: Sequence[str], positions: np.ndarray) -> None:
        self.smiles = smiles
        with rdBase.BlockLogs():
            self.inchi = Chem.MolToInchi(Chem.MolFromSmiles(smiles))
        self.symbols = list(symbols)
        self.positions = positions


def embed(smiles: str, seed: int = 0) -> Molecule | None:
    """Return an embedded molecule, None where RDKit finds no conformer."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    if rdDistGeom.EmbedMolecule(mol, randomSeed=seed) < 0:
        return None
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    return Molecule(smiles, symbols, mol.GetConformer().GetPositions())


def grow(n: int, seed: int = 0, atoms: str = "CCCCNO", largest: int = 9) -> Iterator[str]:
    """Yield ``n`` distinct SMILES of small molecules of C, N, O, F, smallest first.

    Heavy atoms are added one after another with single bonds, and bonds raised or closed
    to rings, at random: what comes out is real chemistry for the most part, as in GDB.
    """
    draw = random.Random(seed)
    found: dict[str, None] = {}
    frontier = ["C", "N", "O"]
    found.update(dict.fromkeys(frontier))
    while len(found) < n:
        parent = draw.choice(frontier)
        mol = Chem.RWMol(Chem.MolFromSmiles(parent))
        heavy = mol.GetNumAtoms()
        free = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs() > 0]
        if not free:
            continue
        change = draw.random()
        if change < 0.75 and heavy < largest:
            symbol = draw.choice(atoms + ("F" if draw.random() < 0.05 else ""))
            mol.AddBond(draw.choice(free), mol.AddAtom(Chem.Atom(symbol)), Chem.BondType.SINGLE)
        elif len(free) > 1:
            first, second = draw.sample(free, 2)
            bond = mol.GetBondBetweenAtoms(first, second)
            if bond is None:
                if len(Chem.GetShortestPath(mol, first, second)) < 4:
                    continue
                mol.AddBond(first, second, Chem.BondType.SINGLE)
            elif bond.GetBondType() == Chem.BondType.SINGLE:
                bond.SetBondType(Chem.BondType.DOUBLE)
            else:
                continue
        with rdBase.BlockLogs():
            sane = Chem.MolFromSmiles(Chem.MolToSmiles(mol))
        if sane is None:
            continue
        smiles = Chem.MolToSmiles(sane)
        if smiles not in found:
            found[smiles] = None
            if Chem.MolFromSmiles(smiles).GetNumAtoms() < largest:
                frontier.append(smiles)
    yield from list(found)[:n]


def raw_text(molecule: Molecule, index: int, exponents: bool = False) -> str:
    """Return one molecule as QM9 writes it; ``index`` counts from 1.

    Args:
        molecule: what to write.
        index: number in the data set; the made-up properties follow from it.
        exponents: write one coordinate and one charge as ``1.5*^-6``, as QM9 does for
            small numbers.
    """
    n = len(molecule.symbols)
    made_up = np.random.default_rng(index).uniform(0.1, 9.0, 15)
    properties = "\t".join(f"{value:.5f}" for value in made_up)
    lines = [str(n), f"gdb {index}\t{properties}\t"]
    # the whole molecule is moved so that a coordinate is small
    shift = [molecule.positions[0, 0] - 1.5e-6, 0.0, 0.0] if exponents else [0.0, 0.0, 0.0]
    positions = molecule.positions - shift
    for place, (symbol, xyz) in enumerate(zip(molecule.symbols, positions, strict=True)):
        numbers = [f"{value:.10f}" for value in xyz] + [f"{0.01 * place:.6f}"]
        if exponents and place == 0:
            numbers[0], numbers[3] = "1.5*^-6", "-2.1*^-5"
        lines.append("\t".join([symbol, *numbers]))
    frequencies = 6 if n > 2 else 5
    lines.append("\t".join(f"{100.0 + 10 * k:.4f}" for k in range(max(3 * n - frequencies, 1))))
    lines.append(f"{molecule.smiles}\t{molecule.smiles}\t")
    lines.append(f"{molecule.inchi}\t{molecule.inchi}")
    return "\n".join(lines) + "\n"


def filler(
    first: Sequence[Molecule], repeated: Sequence[Molecule], n: int, seed: int = 0
) -> Iterator[Molecule]:
    """Yield ``first`` and then, up to ``n``, copies of ``repeated``, atoms moved by 0.02 Å."""
    draw = np.random.default_rng(seed)
    yield from first[:n]
    for index in range(n - len(first)):
        molecule = repeated[index % len(repeated)]
        moved = object.__new__(Molecule)
        moved.__dict__.update(molecule.__dict__)
        moved.positions = molecule.positions + draw.normal(0, 0.02, molecule.positions.shape)
        yield moved


def write_archive(
    path: Path,
    molecules: Iterable[Molecule],
    malformed: dict[int, str] | None = None,
) -> int:
    """Write molecules as a ``.tar.bz2`` like QM9's; return how many.

    Args:
        path: file to write.
        molecules: what to write, numbered from 1.
        malformed: texts that stand in the archive instead of some molecules, by number.
    """
    n = 0
    with tarfile.open(path, "w:bz2", format=tarfile.USTAR_FORMAT) as archive:
        for n, molecule in enumerate(molecules, start=1):
            text = (malformed or {}).get(n) or raw_text(molecule, n, exponents=n % 10 == 0)
            data = text.encode()
            member = tarfile.TarInfo(f"dsgdb9nsd_{n:06d}.xyz")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return n


def write_package(folder: Path, molecules: Sequence[Molecule]) -> None:
    """Write molecules as the three CSV files of the package ``qm9pack``.

    Args:
        folder: an empty folder that stands for the package's.
        molecules: what to write, numbered from 1; values as of :func:`raw_text`.
    """
    from logan_campaign.sources.qm9_package import _PROPERTIES

    columns = ["XYZ_file", "Index", "SMILES", "InChi", "N_atoms", "Elements", "XYZ_Ang"]
    columns += ["Mulliken_pop", "Harmonic_Freq_cmi", *_PROPERTIES]
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('not to be imported')\n")
    for part in range(3):
        with open(folder / "data" / f"qm9_part{part + 1}.csv", "w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
            writer.writerow(columns)
            for index in range(part + 1, len(molecules) + 1, 3):
                lines = raw_text(molecules[index - 1], index).splitlines()
                n = int(lines[0])
                atoms = [line.split("\t") for line in lines[2 : 2 + n]]
                positions = ",".join(f"[{','.join(row[1:4])}]" for row in atoms)
                smiles, inchi = (line.split("\t")[0] for line in lines[3 + n :])
                writer.writerow(
                    [
                        f"dsgdb9nsd_{index:06d}.xyz",
                        index,
                        smiles,
                        inchi,
                        n,
                        str([row[0] for row in atoms]).replace(" ", ""),
                        f"[{positions}]",
                        f"[{','.join(row[4] for row in atoms)}]",
                        f"[{','.join(lines[2 + n].split())}]",
                        *map(float, lines[1].split()[2:]),
                    ]
                )


def uncharacterized_text(indices: Sequence[int]) -> str:
    """Return a list of molecules that failed the consistency check, as QM9 publishes it."""
    head = ["Molecules that failed the consistency check", "=" * 40]
    head += ["", "Made up; only the layout is QM9's", "", "", "index  input  output", "-" * 40, ""]
    rows = [f"{index:8d}  CCO  CCO  N/A" for index in indices]
    return "\n".join([*head, *rows, "-" * 40, f"{len(rows)} compounds", ""])
