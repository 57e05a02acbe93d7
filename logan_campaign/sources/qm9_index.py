"""An index of an archive in QM9's raw format: one SQLite file in the cache.

The archive is a ``.tar.bz2``, which can only be read sequentially, or the CSV files of a package.
It is read once as a stream; the index then contains the compressed text of every molecule by
formula.
"""

from __future__ import annotations

import bz2
import io
import sqlite3
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

from logan_campaign.core import progress
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.files import whole_file
from logan_campaign.sources.qm9_format import summarise
from logan_campaign.sources.qm9_package import texts
from logan_campaign.sources.transfer import cache_folder

#: Raised when the layout or the meaning of the index changes.
VERSION = 1

#: Number of molecules in QM9, for the progress shown.
SIZE = 133_885

#: Bytes; what is larger is no molecule, and would be read whole.
_LARGEST_MEMBER = 2**20
_CHUNK = 2000
_BUFFER = 1 << 20
_TABLES = """
CREATE TABLE molecules (gdb INTEGER, name TEXT, formula TEXT, text BLOB);
CREATE TABLE malformed (name TEXT, reason TEXT);
"""


class DamagedArchiveError(InputError):
    """A truncated file, or one that is not an archive."""


class QM9Index:
    """The molecules of an archive by formula.

    Args:
        archive: the ``.tar.bz2`` file, or the folder of the package.
        sha256: its checksum, the key of the index.

    Raises:
        DamagedArchiveError: the archive cannot be read to its end.
    """

    def __init__(self, archive: Path, sha256: str) -> None:
        self._path = cache_folder("qm9") / f"{sha256[:32]}-{VERSION}.sqlite"
        if not self._path.is_file():
            self._build(archive)

    def formulas(self) -> dict[str, int]:
        """Return the number of molecules per Hill formula."""
        query = "SELECT formula, count(*) FROM molecules GROUP BY formula ORDER BY formula"
        with closing(self._connect()) as database:
            return {str(name): int(n) for name, n in database.execute(query)}

    def malformed(self) -> list[tuple[str, str]]:
        """Return names of the members that are not molecules, with reasons."""
        with closing(self._connect()) as database:
            return list(database.execute("SELECT name, reason FROM malformed ORDER BY name"))

    def texts(self, accept: Callable[[str], bool]) -> Iterator[tuple[str, int, str]]:
        """Yield name, number and text of the molecules whose formula is accepted."""
        wanted = [name for name in self.formulas() if accept(name)]
        query = "SELECT name, gdb, text FROM molecules WHERE formula = ? ORDER BY gdb"
        with closing(self._connect()) as database:
            for formula in wanted:
                for name, index, text in database.execute(query, (formula,)):
                    yield str(name), int(index), zlib.decompress(text).decode()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)

    def _build(self, archive: Path) -> None:
        """Read the archive once; the index appears under its name only when it is whole."""
        try:
            with whole_file(self._path) as beside, closing(sqlite3.connect(beside)) as database:
                # never seen before it is whole: nothing to recover
                database.execute("PRAGMA journal_mode = OFF")
                database.execute("PRAGMA synchronous = OFF")
                database.executescript(_TABLES)
                n = _fill(database, archive)
                if n == 0:
                    raise DamagedArchiveError(f"{archive}: no molecule in the archive")
                database.execute("CREATE INDEX by_formula ON molecules (formula, gdb)")
                database.commit()
        except sqlite3.Error as err:
            raise InputError(f"cannot write the index of {archive}: {err}") from err


def _fill(database: sqlite3.Connection, archive: Path) -> int:
    n = 0
    rows: list[tuple[int, str, str, bytes]] = []
    for name, data in texts(archive) if archive.is_dir() else _members(archive):
        try:
            text = data.decode("ascii")
            found = summarise(text)
        except (StructureError, UnicodeDecodeError) as err:
            reason = str(err) if isinstance(err, StructureError) else "not a text"
            database.execute("INSERT INTO malformed VALUES (?, ?)", (name, reason))
            continue
        n += 1
        rows.append((found.number, name, found.formula, zlib.compress(data, 1)))
        if len(rows) == _CHUNK:
            database.executemany("INSERT INTO molecules VALUES (?, ?, ?, ?)", rows)
            rows.clear()
            progress.report("index", n, SIZE, f"{n} molecules")
    database.executemany("INSERT INTO molecules VALUES (?, ?, ?, ?)", rows)
    progress.report("index", n, n, f"{n} molecules")
    return n


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in an archive, as a stream.

    tarfile parses the headers; its own stream would double the time of decompression.
    """
    block = tarfile.BLOCKSIZE
    try:
        # bz2 raises if the file is truncated
        with bz2.BZ2File(archive) as unpacked:
            stream = io.BufferedReader(cast(io.RawIOBase, unpacked), _BUFFER)
            while header := stream.read(block):
                if header.count(0) == block:  # end-of-archive mark
                    break
                member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
                if not 0 <= member.size <= _LARGEST_MEMBER:
                    raise EOFError(f"a file of {member.size} bytes, where molecules have a few kB")
                content = stream.read(-(-member.size // block) * block)
                if len(content) < member.size:
                    raise EOFError(f"{member.name} is cut off")
                if member.isreg() and member.name.endswith(".xyz"):
                    yield member.name.rsplit("/", 1)[-1], content[: member.size]
            while stream.read(_BUFFER):  # verifies the checksums at the end
                pass
    except (EOFError, tarfile.TarError, OSError) as err:
        what = " ".join(str(err).split()) or type(err).__name__
        raise DamagedArchiveError(
            f"{archive}: the archive is truncated or damaged ({what})"
        ) from err
