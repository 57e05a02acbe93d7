"""Crystals from the Materials Project, by its client ``mp_api``.

The API key is read from ``MP_API_KEY`` or the client's settings, the address of a server other than
the public one from ``MP_API_ENDPOINT``. A spec cannot contain either, so that a foreign spec cannot
send a key to another server.

A pull first requests all data except structures, then the structures of records that are new or
differ from the cache. An interrupted pull continues where it stopped, and a repeated one fetches
only changes.

Jain et al., doi 10.1063/1.4812323.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from ase.data import chemical_symbols
from pydantic import AfterValidator, Field, model_validator
from pymatgen.core import Composition, Structure

from logan_campaign.core import progress
from logan_campaign.core.documents import Manifest, Origin
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.ids import content_id
from logan_campaign.core.redaction import redact
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.sources.base import (
    Collector,
    FormulaText,
    LoadedSet,
    Preview,
    Source,
    elements_of,
    malformed,
    short,
)
from logan_campaign.sources.transfer import (
    PassingError,
    SourceError,
    cache_folder,
    read_json,
    retried,
    stay_with_host,
    write_whole,
)

NAME = "the Materials Project"

#: Structures asked for in one request.
BATCH = 100

# What is asked for of every record; with any of it changed, its structure is fetched again.
_FIELDS = (
    *("material_id", "formula_pretty", "nsites", "energy_above_hull", "energy_per_atom"),
    *("symmetry", "theoretical", "volume", "density", "last_updated", "builder_meta"),
)
_KEPT = "what was fetched until now is kept"
#: A material id: mp-149, mvc-12.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_STATUS = re.compile(r"status code (\d{3})")
_LICENCES = {"BY-C": "CC BY 4.0", "BY-NC": "CC BY-NC 4.0"}


def _checked_id(text: str) -> str:
    if not re.fullmatch(r"[a-z]+-([0-9]+|[a-z]+)", text):
        raise ValueError("a material id looks like mp-149")
    return text


def _checked_system(text: str) -> str:
    if not all(part == "*" or part in chemical_symbols[1:] for part in text.split("-")):
        raise ValueError("a chemical system is written as elements with dashes, like Si-O")
    return text


class MaterialsProjectSource(Source):
    """Crystals of the Materials Project that meet all given conditions."""

    type: Literal["mp"] = "mp"
    formulas: list[FormulaText] | None = Field(
        None, description="Only these reduced formulas, such as SiO2"
    )
    chemical_systems: list[Annotated[str, AfterValidator(_checked_system)]] | None = Field(
        None, description="Only these chemical systems, such as Si-O (exactly these elements)"
    )
    material_ids: list[Annotated[str, AfterValidator(_checked_id)]] | None = Field(
        None, description="Only these entries, such as mp-149"
    )
    energy_above_hull: tuple[float, float] | None = Field(
        None, description="Lowest and highest energy above the convex hull (eV/atom)"
    )
    n_atoms: tuple[int, int] | None = Field(
        None, description="Range of the number of atoms in the cell of the Materials Project"
    )
    experimental: bool | None = Field(
        None, description="true: only experimentally observed; false: only predicted ones"
    )

    @model_validator(mode="after")
    def _is_a_query(self) -> MaterialsProjectSource:
        if not (self.formulas or self.chemical_systems or self.material_ids):
            raise ValueError(
                "give at least one of 'formulas', 'chemical_systems' and 'material_ids'"
            )
        for name in ("energy_above_hull", "n_atoms"):
            limits = getattr(self, name)
            if limits is not None and not 0 <= limits[0] <= limits[1]:
                raise ValueError(f"{name}: the lower limit comes first, and is not negative")
        return self

    @property
    def title(self) -> str:
        """Short name for people."""
        named = [*(self.formulas or []), *(self.chemical_systems or [])]
        n_ids = len(self.material_ids or [])
        if n_ids:
            named.append(f"{n_ids} ids" if n_ids > 3 else ", ".join(self.material_ids or []))
        parts = [", ".join(named)]
        if self.energy_above_hull:
            low, high = self.energy_above_hull
            parts.append(f"{low:g} to {high:g} eV/atom above hull")
        if self.n_atoms:
            parts.append(f"{self.n_atoms[0]} to {self.n_atoms[1]} atoms")
        if self.experimental is not None:
            parts.append("observed" if self.experimental else "predicted")
        return f"Materials Project ({'; '.join(parts)})"

    def preview(self, base: Path) -> Preview:
        """Return the elements asked for. See :meth:`Source.preview`."""
        species = elements_of(self.formulas)
        systems = self.chemical_systems or []
        if species is None and systems and "*" not in "".join(systems):
            species = {symbol for text in systems for symbol in text.split("-")}
        return Preview("crystal", species, None)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Fetch the structures. See :meth:`Source.load`.

        Raises:
            InputError: the key is missing or refused, or no usable entry was found.
            SourceError: the server does not answer correctly after several attempts.
        """
        collector = Collector()
        with _client() as client:
            version = str(client.rester.db_version or "")
            found = client.search(fields=list(_FIELDS), **self._criteria())
            records = _by_id(found, collector)
            structures = _structures(client, records)
        for name, record in sorted(records.items(), key=lambda item: _number(item[0])):
            _add(collector, name, record, structures.get(name))
        licences = {str(record["licence"]) for record in map(_about, records.values())}
        return collector.finish(
            NAME,
            Origin(
                name="Materials Project",
                version=version,
                licence=", ".join(sorted(licences - {""})) or "CC BY 4.0",
                citation="doi:10.1063/1.4812323",
                address=client.endpoint,
            ),
        )

    def _criteria(self) -> dict[str, Any]:
        """Return the arguments of ``MPRester.materials.summary.search``."""
        criteria: dict[str, Any] = {
            "formula": [Composition(text).reduced_formula for text in self.formulas or []] or None,
            "chemsys": ["-".join(sorted(text.split("-"))) for text in self.chemical_systems or []]
            or None,
            "material_ids": self.material_ids,
            "energy_above_hull": self.energy_above_hull,
            "num_sites": self.n_atoms,
            "theoretical": None if self.experimental is None else not self.experimental,
        }
        return {key: value for key, value in criteria.items() if value is not None}


def api_key() -> str:
    """Return the API key that mp_api would use.

    Raises:
        InputError: there is no key, or it is malformed.
    """
    from pymatgen.core import SETTINGS

    key = os.environ.get("MP_API_KEY") or str(SETTINGS.get("PMG_MAPI_KEY") or "")
    if not key:
        raise InputError(
            "the Materials Project needs an API key: get one at "
            "https://materialsproject.org/api and export MP_API_KEY"
        )
    if len(key) != 32:
        raise InputError(
            f"the API key in MP_API_KEY has {len(key)} characters, not 32: "
            "copy it again from https://materialsproject.org/api"
        )
    return key


@dataclass
class _Client:
    """The MPRester calls used here, with one-line errors without the key."""

    rester: Any
    key: str = field(repr=False)
    endpoint: str

    def search(self, **criteria: Any) -> list[Any]:
        def attempt() -> list[Any]:
            with _plain_errors(self.key, self.endpoint):
                return list(self.rester.materials.summary.search(**criteria))

        return retried(NAME, attempt, _KEPT)


@contextmanager
def _client() -> Iterator[_Client]:
    key = api_key()

    from mp_api.client import MPRester  # takes seconds to import
    from mp_api.client.core.settings import MAPI_CLIENT_SETTINGS

    # mp_api reads the variable once, at import
    endpoint = os.environ.get("MP_API_ENDPOINT") or MAPI_CLIENT_SETTINGS.ENDPOINT

    def connect() -> Any:
        with _plain_errors(key, endpoint), warnings.catch_warnings():
            # an outdated client is detected from the server's answers
            warnings.simplefilter("ignore")
            rester = MPRester(
                key, endpoint=endpoint, use_document_model=False, mute_progress_bars=True
            )
            # the headers contain the key, which requests would forward
            rester.session.hooks["response"].append(stay_with_host)
            return rester

    with retried(NAME, connect, _KEPT) as rester:
        yield _Client(rester, key, endpoint)


@contextmanager
def _plain_errors(key: str, endpoint: str) -> Iterator[None]:
    """Convert exceptions of mp_api to passing errors and user errors, without the key."""
    from mp_api.client import MPRestError
    from requests.exceptions import RequestException, RetryError

    def cleaned(err: BaseException) -> str:
        return short(redact(str(err), key), 200) or type(err).__name__

    def disconnected(err: BaseException) -> Exception:
        if not isinstance(err, RetryError):
            return PassingError(f"no connection to {endpoint} ({type(err).__name__})")
        # mp_api has already repeated the request as the server demanded
        what = "too many requests (HTTP 429)" if "429" in str(err) else "a gateway's error"
        return SourceError(
            f"{NAME} goes on answering {what}; nothing stored has changed; try again later: {_KEPT}"
        )

    try:
        yield
    except MPRestError as err:
        if isinstance(err.__context__, RequestException):
            raise disconnected(err.__context__) from None
        status = _STATUS.search(str(err))
        code = int(status[1]) if status else 0
        if code in (401, 403):
            raise InputError(
                f"{NAME} refused the API key (HTTP {code}): "
                "check MP_API_KEY against https://materialsproject.org/api"
            ) from None
        if code in (429, 500, 502, 503, 504):
            raise PassingError(f"the server answered HTTP {code}") from None
        raise SourceError(f"{NAME} did not take the query: {cleaned(err)}") from None
    except (
        json.JSONDecodeError
    ):  # before RequestException, of which requests' JSONDecodeError is a subclass
        raise PassingError("the answer is no whole JSON document") from None
    except RequestException as err:
        raise disconnected(err) from None
    except (KeyError, TypeError, AttributeError) as err:
        raise PassingError(f"the answer lacks what it should hold: {cleaned(err)}") from None


def _legacy(name: Any) -> str:
    """Return a material id in its usual form; '' if it is not one.

    The server's answers may spell mp-149 as mp-aaaaaaft.
    """
    from emmet.core.types.typing import format_identifier  # with mp_api: takes seconds

    found = str(format_identifier(name, legacy=True)) if isinstance(name, str) and name else ""
    # it becomes a file's name
    return found if _ID.fullmatch(found) else ""


def _by_id(found: Sequence[Any], collector: Collector) -> dict[str, dict[str, Any]]:
    """Return the records by material id; records without one are rejected."""
    records: dict[str, dict[str, Any]] = {}
    for place, record in enumerate(found):
        name = _legacy(record.get("material_id")) if isinstance(record, dict) else ""
        if not name:
            collector.reject(f"record {place}", "it has no material_id")
        else:
            records[name] = {key: record.get(key) for key in _FIELDS}
    return records


def _structures(client: _Client, records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the server's structures, from the cache where it is current."""
    folder = cache_folder("materials-project", content_id("server", client.endpoint))
    structures: dict[str, Any] = {}
    missing = []
    for name, record in records.items():
        kept = _cached(folder / f"{name}.json", content_id("summary", record))
        if kept is None:
            missing.append(name)
        else:
            structures[name] = kept
    for start in range(0, len(missing), BATCH):
        progress.report("fetch", start, len(missing), "structures")
        batch = missing[start : start + BATCH]
        answer = client.search(material_ids=batch, fields=["material_id", "structure"])
        for found in answer:
            name = _legacy(found.get("material_id")) if isinstance(found, dict) else ""
            if name not in batch:
                continue
            structures[name] = found.get("structure")
            if not _is_structure(found.get("structure")):
                continue  # not cached: the next pull must ask again
            stamp = content_id("summary", records[name])
            content = {"stamp": stamp, "structure": found.get("structure")}
            write_whole(folder / f"{name}.json", json.dumps(content).encode())
    progress.report("fetch", len(missing), len(missing), "structures")
    return structures


def _is_structure(document: Any) -> bool:
    try:
        Structure.from_dict(document)
    except Exception:  # noqa: BLE001 - whatever a malformed document makes pymatgen raise
        return False
    return True


def _cached(path: Path, stamp: str) -> Any:
    content = read_json(path)
    return content.get("structure") if content.get("stamp") == stamp else None


def _add(collector: Collector, name: str, record: dict[str, Any], document: Any) -> None:
    try:
        # without site properties (magnetic moments) and oxidation states
        structure = Structure.from_dict(document)
        structure.remove_oxidation_states()
        atoms = to_atoms(structure)
    except StructureError as err:
        collector.reject(name, str(err))
        return
    except Exception as err:  # noqa: BLE001 - whatever a malformed record makes pymatgen raise
        what = "has no structure" if document is None else f"is malformed: {malformed(err)}"
        collector.reject(name, f"the record {what}")
        return
    per_atom = record.get("energy_per_atom")
    energy = float(per_atom) * len(atoms) if isinstance(per_atom, int | float) else None
    collector.add(atoms, name, energy_ev=energy, properties=_about(record))


def _about(record: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of a record to keep."""
    symmetry = record.get("symmetry")
    builder = record.get("builder_meta")
    theoretical = record.get("theoretical")
    licence = builder.get("license") if isinstance(builder, dict) else None
    return {
        "energy_above_hull_ev_per_atom": record.get("energy_above_hull"),
        "energy_per_atom_ev": record.get("energy_per_atom"),
        "spacegroup": symmetry.get("symbol") if isinstance(symmetry, dict) else None,
        "experimental": None if theoretical is None else not theoretical,
        "licence": _LICENCES.get(str(licence), str(licence)) if licence else "",
    }


def _number(name: str) -> tuple[str, int, str]:
    prefix, _, number = name.partition("-")
    return prefix, int(number) if number.isdecimal() else 0, name
