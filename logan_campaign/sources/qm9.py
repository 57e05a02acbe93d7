"""Molecules of QM9: 133,885 of up to nine C, N, O and F, relaxed with B3LYP.

Ramakrishnan, Dral, Rupp, von Lilienfeld, doi 10.1038/sdata.2014.22; data CC0, doi
10.6084/m9.figshare.c.978904.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from ase.data import chemical_symbols
from ase.formula import Formula
from pydantic import AfterValidator, Field, model_validator

from logan_campaign.core import progress
from logan_campaign.core.documents import Manifest, Origin
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.files import read_text
from logan_campaign.geometry.formulas import hill_formula
from logan_campaign.geometry.molecules import canonical_smiles, perceive_smiles
from logan_campaign.geometry.structures import from_atoms
from logan_campaign.sources import qm9_package
from logan_campaign.sources.base import (
    Collector,
    FormulaText,
    LoadedSet,
    Preview,
    Source,
    elements_of,
    without_credentials,
)
from logan_campaign.sources.download import checksum, discard, fetch
from logan_campaign.sources.qm9_format import parse, to_record
from logan_campaign.sources.qm9_index import DamagedArchiveError, QM9Index
from logan_campaign.sources.transfer import SourceError

NAME = "QM9"

#: URLs of the archive, and of the list of the 3,054 molecules whose relaxed geometry does not
#: match the original graph.
ARCHIVE_URL = "https://ndownloader.figshare.com/files/3195389"
UNCHARACTERIZED_URL = "https://ndownloader.figshare.com/files/3195404"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LISTED = re.compile(r"^\s*(\d+)\s+(?!compounds)\S", re.MULTILINE)


def _checked_sha256(text: str) -> str:
    text = text.lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(text):
        raise ValueError("a SHA-256 has 64 hexadecimal digits")
    return text


def _checked_element(text: str) -> str:
    if text not in chemical_symbols[1:]:
        raise ValueError("not the symbol of an element")
    return text


class QM9Source(Source):
    """Molecules of QM9 that meet all given conditions."""

    type: Literal["qm9"] = "qm9"
    formulas: list[FormulaText] | None = Field(None, description="Only these formulas")
    elements: list[Annotated[str, AfterValidator(_checked_element)]] | None = Field(
        None, description="Allowed elements"
    )
    n_atoms: tuple[int, int] | None = Field(
        None, description="Range of the number of atoms, with hydrogens"
    )
    path: str | None = Field(
        None,
        description="Local archive dsgdb9nsd.xyz.tar.bz2, or folder of the package qm9pack; "
        "relative to the spec. By default the package if it is installed, otherwise a download",
    )
    url: Annotated[str, AfterValidator(without_credentials)] | None = Field(
        None, description="URL to download the archive from"
    )
    sha256: Annotated[str, AfterValidator(_checked_sha256)] | None = Field(
        None, description="Expected checksum; by default that of the first download"
    )
    keep_uncharacterized: bool = Field(
        False, description="Keep molecules that failed QM9's consistency check"
    )
    uncharacterized: Annotated[str, AfterValidator(without_credentials)] | None = Field(
        None,
        description="File or URL of their list (uncharacterized.txt); by default the file beside "
        "'path', or the published list",
    )

    @model_validator(mode="after")
    def _is_a_query(self) -> QM9Source:
        if self.path is not None and self.url is not None:
            raise ValueError("give either 'path' or 'url'")
        if not (self.formulas or self.elements or self.n_atoms):
            raise ValueError("give at least one of 'formulas', 'elements' and 'n_atoms'")
        if self.n_atoms is not None and not 0 < self.n_atoms[0] <= self.n_atoms[1]:
            raise ValueError("n_atoms: the lower limit comes first, and is at least 1")
        return self

    @property
    def title(self) -> str:
        """Short name for people."""
        parts = []
        if self.formulas:
            parts.append(", ".join(self.formulas))
        if self.elements:
            parts.append(f"only {' '.join(self.elements)}")
        if self.n_atoms:
            parts.append(f"{self.n_atoms[0]} to {self.n_atoms[1]} atoms")
        return f"QM9 ({'; '.join(parts)})"

    def preview(self, base: Path) -> Preview:
        """Return the elements of the formulas asked for. See :meth:`Source.preview`."""
        archive = self.archive_path(base)
        content = _checksum(archive) if archive else None
        return Preview("molecule", elements_of(self.formulas), content)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Select the molecules. See :meth:`Source.load`.

        Raises:
            InputError: the archive is missing, damaged or not the expected one.
            SourceError: it cannot be downloaded.
        """
        base = base or Path.cwd()
        archive, sha256, address = self._archive(base, previous)
        left_out = self._left_out(base)
        try:
            index = QM9Index(archive, sha256)
        except DamagedArchiveError as err:
            if self.archive_path(base) is None:
                discard(archive)
                raise DamagedArchiveError(
                    f"{err}; the download was discarded, the next pull fetches it again"
                ) from err
            raise
        collector = Collector()
        for name, reason in index.malformed():
            collector.reject(name, reason)
        for done, (name, number, text) in enumerate(index.texts(self._accepts())):
            if done % 100 == 0:
                progress.report("read", done, 0, f"{done} molecules")
            if number in left_out:
                collector.reject(name, "failed QM9's consistency check (uncharacterized.txt)")
            else:
                _add(collector, name, text)
        return collector.finish(
            NAME,
            Origin(
                name="QM9",
                version=f"sha256 {sha256}",
                licence="CC0 1.0",
                citation="doi:10.6084/m9.figshare.c.978904",
                address=address,
                checksum=sha256,
            ),
        )

    def archive_path(self, base: Path) -> Path | None:
        """Return the local archive or folder of qm9pack; None if it is to be downloaded.

        Raises:
            InputError: there is no such file.
        """
        if self.path is None:
            return qm9_package.installed() if self.url is None else None
        path = base / Path(self.path).expanduser()
        if not path.exists():
            raise InputError(f"no such file: {path}")
        return path

    def _archive(self, base: Path, previous: Manifest | None) -> tuple[Path, str, str]:
        """Return the archive, its checksum and its origin."""
        path = self.archive_path(base)
        if path is None:
            url = self.url or ARCHIVE_URL
            known = previous.origin.checksum if previous is not None else ""
            try:
                found, sha256 = fetch(NAME, url, self.sha256 or known or None)
            except SourceError as err:
                if self.url is not None:
                    raise
                raise SourceError(
                    f"{err}; or 'pip install qm9pack', whose molecules are read without a download"
                ) from err
            return found, sha256, url
        sha256 = _checksum(path)
        if self.sha256 is not None and sha256 != self.sha256:
            raise InputError(f"{path} has the SHA-256 {sha256}, not {self.sha256}")
        return path, sha256, qm9_package.NAME if path.is_dir() else path.name

    def _left_out(self, base: Path) -> set[int]:
        """Return the numbers of the molecules that failed the consistency check."""
        where = self.uncharacterized
        archive = self.archive_path(base)
        packaged = archive is not None and archive.is_dir()  # they are not in the package
        if self.keep_uncharacterized or (packaged and where is None):
            return set()
        if where is None and archive is not None:
            beside = archive.with_name("uncharacterized.txt")
            where = str(beside) if beside.is_file() else None
        where = where or UNCHARACTERIZED_URL
        if "://" in where:
            path = fetch(f"{NAME}'s list of uncharacterized molecules", where)[0]
        else:
            path = base / Path(where).expanduser()
        found = {int(number) for number in _LISTED.findall(read_text(path))}
        if not found:
            raise InputError(f"{path} lists no molecules: it is not an uncharacterized.txt")
        return found

    def _accepts(self) -> Callable[[str], bool]:
        """Return a predicate on Hill formulas, which decides all conditions."""
        formulas = {hill_formula(text) for text in self.formulas or []}
        elements = set(self.elements or [])

        def accepts(name: str) -> bool:
            count = Formula(name).count()
            return (
                (not formulas or name in formulas)
                and (not elements or set(count) <= elements)
                and (
                    self.n_atoms is None
                    or self.n_atoms[0] <= sum(count.values()) <= self.n_atoms[1]
                )
            )

        return accepts


def _checksum(archive: Path) -> str:
    """Return the SHA-256 of an archive, or of those of the package's files."""
    if not archive.is_dir():
        return checksum(archive)
    sums = "".join(checksum(part) for part in qm9_package.parts(archive))
    return hashlib.sha256(sums.encode()).hexdigest()


def _add(collector: Collector, name: str, text: str) -> None:
    try:
        molecule = parse(text)
        smiles = perceive_smiles(from_atoms(molecule.atoms))
    except StructureError as err:
        collector.reject(name, str(err))
        return
    if smiles is None:  # QM9's SMILES, if the graph cannot be perceived from distances
        try:
            smiles = canonical_smiles(molecule.smiles[1])
        except InputError:
            smiles = None
    collector.add(
        molecule.atoms,
        label=f"gdb-{molecule.number}",
        smiles=smiles,
        energy_ev=molecule.properties["u0_ev"],
        properties=to_record(molecule),
    )
