"""Structures from any OPTIMADE provider, by the client of the ``optimade`` package.

A query in the OPTIMADE filter language is sent to one or several providers. Pages are cached until
the pull is done, so that an interrupted pull continues where it stopped.

Evans et al., doi 10.1039/D4DD00039K; https://www.optimade.org.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import requests
from pydantic import Field, field_validator
from pymatgen.core import Structure
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from logan_campaign.core import progress
from logan_campaign.core.documents import Manifest, Origin, TargetKind
from logan_campaign.core.errors import InputError, StructureError
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.sources import transfer
from logan_campaign.sources.base import (
    Collector,
    LoadedSet,
    Preview,
    Source,
    malformed,
    without_credentials,
)
from logan_campaign.sources.transfer import SourceError, cache_folder, write_whole

#: Providers by the names that their communities use.
PROVIDERS = {
    "alexandria": "https://alexandria.icams.rub.de/pbe",
    "cod": "https://www.crystallography.net/cod/optimade",
    "mp": "https://optimade.materialsproject.org",
    "oqmd": "https://oqmd.org/optimade",
}

# Licences that the providers state on their pages; of others the user must ask.
_LICENCES = {"alexandria": "CC BY 4.0", "cod": "CC0 1.0", "mp": "CC BY 4.0", "oqmd": "CC BY 4.0"}

_FIELDS = (
    *("lattice_vectors", "cartesian_site_positions", "species", "species_at_sites"),
    *("dimension_types", "nperiodic_dimensions", "nsites", "nelements", "elements"),
    *("elements_ratios", "chemical_formula_anonymous", "chemical_formula_descriptive"),
    *("chemical_formula_reduced", "structure_features", "assemblies", "last_modified"),
    "immutable_id",
)
#: What a feature of a structure, as the specification names them, means for its atoms.
_FEATURES = {
    "assemblies": "sites exclude one another (assemblies)",
    "disorder": "sites are shared or partly occupied",
    "implicit_atoms": "atoms have no positions (implicit_atoms)",
    "site_attachments": "atoms attached to sites have no positions (site_attachments)",
    "unknown_positions": "positions are unknown",
}
#: Age after which pages of an interrupted pull are fetched again (s), since the provider's data
#: may have changed.
_LONGEST_PAUSE_S = 24 * 3600.0
_KEPT = "pages that were fetched are kept for a day"


class OptimadeSource(Source):
    """Structures that match an OPTIMADE filter."""

    type: Literal["optimade"] = "optimade"
    providers: list[str] = Field(
        min_length=1,
        description=f"Providers: {', '.join(PROVIDERS)}, or base URLs of others",
    )
    filter: str = Field(
        description='OPTIMADE filter, such as: chemical_formula_reduced="O2Si" AND nsites<=12'
    )
    kind: TargetKind = Field("crystal", description="Kind of structures")
    max_structures: int | None = Field(
        None, ge=1, description="Maximum number of structures per provider; all by default"
    )

    @field_validator("providers")
    @classmethod
    def _are_known(cls, value: list[str]) -> list[str]:
        for name in map(without_credentials, value):
            if name not in PROVIDERS and not name.startswith(("http://", "https://")):
                raise ValueError(
                    f"{name!r} is no known provider ({', '.join(PROVIDERS)}) and no URL"
                )
        if len(set(value)) < len(value):
            raise ValueError("a provider is named twice")
        return value

    @field_validator("filter")
    @classmethod
    def _can_be_parsed(cls, value: str) -> str:
        from optimade.exceptions import BadRequest
        from optimade.filterparser import LarkParser

        if not value.strip():
            raise ValueError("an empty filter would ask for everything")
        try:
            LarkParser().parse(value)
        except BadRequest as err:
            raise ValueError(
                'not an OPTIMADE filter, such as elements HAS ALL "Si","O" AND nsites<=12'
            ) from err
        return value

    @property
    def title(self) -> str:
        """Short name for people."""
        return f"OPTIMADE {', '.join(self.providers)} ({self.filter})"

    def preview(self, base: Path) -> Preview:
        """Return the kind; only the servers know the elements. See :meth:`Source.preview`."""
        return Preview(self.kind, None, None)

    def load(self, base: Path | None = None, previous: Manifest | None = None) -> LoadedSet:
        """Fetch the structures. See :meth:`Source.load`.

        Raises:
            InputError: no usable entry was found, or a provider refuses the filter.
            SourceError: a provider does not answer correctly after several attempts.
        """
        collector = Collector()
        about = []
        folders = []
        for name in self.providers:
            folder = cache_folder("optimade", content_id("pull", [self.query_id, name]))
            folders.append(folder)
            entries, meta = _ask(name, self.filter, self.max_structures or 0, folder)
            about.append(_described(name, meta))
            for place, entry in enumerate(entries):
                _add(collector, entry, name, place, self.kind)
        result = collector.finish(
            f"OPTIMADE ({', '.join(self.providers)})",
            Origin(
                name="OPTIMADE " + ", ".join(name for name, _, _ in about),
                version=", ".join(version for _, version, _ in about if version),
                licence=", ".join(sorted({licence for _, _, licence in about if licence})),
                citation="doi:10.1039/D4DD00039K",
                address=", ".join(PROVIDERS.get(name, name) for name in self.providers),
            ),
        )
        for folder in folders:  # the next pull starts again
            shutil.rmtree(folder, ignore_errors=True)
        return result


#: Pages and entries of one query, and bytes of one page, that are read at most.
_MOST_PAGES = 10_000
_MOST_ENTRIES = 10_000_000
_MOST_BYTES = 2**27
#: What is said where one of these, or a redirection, ends a query.
_LIMITS = re.compile(
    r"no end of pages after \d+|a page of more than \d+ MB|sends on to another place \([^)]*\)"
)


class _Session(requests.Session):
    """A session that repeats requests after passing errors, and caches pages.

    The client would repeat a refused request endlessly, so refusals are handled here.
    """

    folder: Path
    n_pages = 0
    last_status = 0

    def __init__(self) -> None:
        super().__init__()
        retry = Retry(
            total=len(transfer.BACKOFF_S),
            backoff_factor=transfer.BACKOFF_S[0],
            status_forcelist=[429, 500, 502, 503, 504],
            respect_retry_after_header=True,
            raise_on_status=True,
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=retry))
        self.hooks["response"].append(transfer.stay_with_host)
        self.asked: set[str] = set()

    def get(self, url: str | bytes, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        # circular or endless links of a server
        if str(url) in self.asked or len(self.asked) >= _MOST_PAGES:
            raise requests.ConnectionError(f"no end of pages after {len(self.asked)}")
        page = self.folder / f"{content_id('page', str(url))}.json"
        with contextlib.suppress(OSError):
            if time.time() - page.stat().st_mtime < _LONGEST_PAUSE_S:
                kept = page.read_bytes()
                self.asked.add(str(url))
                return _answer(str(url), kept)
        answer = super().get(url, **{**kwargs, "stream": True})
        _read_at_most(answer, _MOST_BYTES)
        type(self).last_status = answer.status_code
        if answer.status_code == 200:
            try:
                document = answer.json()
            except (ValueError, RecursionError) as err:
                raise requests.ConnectionError("the answer is no whole JSON document") from err
            if not _is_page(document):  # not cached: the next attempt must ask again
                raise requests.ConnectionError("no OPTIMADE answer")
            write_whole(page, answer.content)
            self.asked.add(str(url))
        type(self).n_pages += 1
        progress.report("fetch", self.n_pages, 0, f"page {self.n_pages}")
        return answer


def _read_at_most(answer: requests.Response, most: int) -> None:
    """Read an answer, unless it is far larger than a page.

    Raises:
        requests.ConnectionError: it is too large.
    """
    content = bytearray()
    for part in answer.iter_content(2**20):
        content += part
        if len(content) > most:
            answer.close()
            raise requests.ConnectionError(f"a page of more than {most >> 20} MB")
    answer._content = bytes(content)


def _is_page(document: Any) -> bool:
    """Whether a document has the parts of an OPTIMADE answer that the client needs."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("data"), list)
        and isinstance(document.get("meta"), dict)
        and isinstance(document.get("links") or {}, dict)
    )


def _answer(url: str, content: bytes) -> requests.Response:
    answer = requests.Response()
    answer.status_code = 200
    answer.url = url
    answer._content = content
    return answer


def _ask(
    name: str, query: str, at_most: int, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return all entries of one provider, and what it says of itself."""
    from optimade.client import OptimadeClient

    url = PROVIDERS.get(name, name).rstrip("/")

    class session(_Session):
        pass

    session.folder = folder
    client = OptimadeClient(
        base_urls=[url],
        # never without a limit: the client compares with it where a server states no total
        max_results_per_provider=at_most or _MOST_ENTRIES,
        use_async=False,
        silent=True,
        http_client=session,
        http_timeout=60.0,
    )
    found = client.get(query, endpoint="structures", response_fields=list(_FIELDS))
    answer = found["structures"][query][url]
    if answer["errors"]:
        what = " ".join(str(error) for error in answer["errors"])
        raise _error(name, " ".join(what.split()), session.last_status)
    entries = answer["data"]
    if not isinstance(entries, list):
        raise SourceError(f"OPTIMADE provider {name}: the answer holds no list of structures")
    return (entries[:at_most] if at_most else entries), answer["meta"]


def _error(name: str, what: str, status: int) -> Exception:
    refused = re.search(r"too many (\d{3}) error", what)
    if refused is not None:
        code = int(refused[1])
        kind = "too many requests (HTTP 429)" if code == 429 else f"HTTP {code}"
    elif "JSON" in what:
        kind = "no whole JSON document"
    elif found := _LIMITS.search(what):
        kind = found[0]
    elif "infinite loop" in what:  # pages without entries: the client's limit
        kind = "no end of pages"
    elif "no OPTIMADE answer" in what:
        kind = "no OPTIMADE answer (data, meta and links)"
    elif "onnection" in what or "imeout" in what:
        kind = f"no connection ({what.split(':', 1)[0]})"
    elif status == 200:
        kind = f"not what OPTIMADE prescribes ({what[:120]})"
    else:
        return InputError(f"OPTIMADE provider {name} does not take the query: {what[:200]}")
    return SourceError(
        f"OPTIMADE provider {name} does not answer as it should: {kind}; "
        f"nothing stored has changed; try again later: {_KEPT}"
    )


def _described(name: str, meta: dict[str, Any]) -> tuple[str, str, str]:
    """Return name, version and licence of a provider, if stated."""
    implementation = meta.get("implementation") or {}
    provider = meta.get("provider") or {}
    database = meta.get("database") or {}
    title = str(provider.get("name") or name)
    version = str(database.get("version") or implementation.get("version") or "")
    licence = _LICENCES.get(name, "")
    return title, version, licence


def _add(collector: Collector, entry: Any, name: str, place: int, kind: TargetKind) -> None:
    from optimade.adapters import Structure as OptimadeStructure

    identity = entry.get("id") if isinstance(entry, dict) else None
    label = f"{name if name in PROVIDERS else 'optimade'}:{identity or f'entry {place}'}"
    try:
        attributes = entry["attributes"]
        _refuse_partial(attributes)
        structure = OptimadeStructure(
            {**entry, "attributes": {**attributes, **_filled(attributes)}}
        ).as_pymatgen
        if kind == "crystal" and not isinstance(structure, Structure):
            raise StructureError("it is not periodic in three directions")
        atoms = to_atoms(structure)
        if kind == "molecule":
            atoms.pbc = False
    except StructureError as err:
        collector.reject(label, str(err))
        return
    except Exception as err:  # noqa: BLE001 - whatever a malformed entry makes the adapter raise
        collector.reject(label, f"the entry is malformed: {malformed(err)}")
        return
    properties = {
        "last_modified": attributes.get("last_modified"),
        "immutable_id": attributes.get("immutable_id"),
        "provider": name,
    }
    collector.add(atoms, label, properties={k: v for k, v in properties.items() if v})


def _refuse_partial(attributes: dict[str, Any]) -> None:
    """Refuse structures without exactly one atom per site, whatever their features."""
    for feature in attributes.get("structure_features") or []:
        raise StructureError(_FEATURES.get(feature, f"the feature {feature!r} is not understood"))
    if attributes.get("assemblies"):
        raise StructureError(_FEATURES["assemblies"])
    for species in attributes["species"]:
        symbols = species["chemical_symbols"]
        if len(symbols) != 1 or abs(species["concentration"][0] - 1) > 1e-6:
            raise StructureError(_FEATURES["disorder"])
        if symbols[0] in ("X", "vacancy"):
            raise StructureError(f"a site is {symbols[0]!r}")
        if species.get("attached") or species.get("nattached"):
            raise StructureError(_FEATURES["site_attachments"])
    sites = attributes["species_at_sites"]
    if {species["name"] for species in attributes["species"]} - set(sites):
        raise StructureError(_FEATURES["implicit_atoms"])
    positions = attributes["cartesian_site_positions"]
    if any(number is None for position in positions for number in position):
        raise StructureError(_FEATURES["unknown_positions"])
    if not len(sites) == len(positions) == (attributes.get("nsites") or len(sites)):
        raise StructureError("the numbers of sites, species and positions differ")


def _filled(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return values for what the specification allows to be unknown and the adapter needs."""
    nowhere = [None, None, None]
    return {
        "last_modified": attributes.get("last_modified"),
        "structure_features": attributes.get("structure_features") or [],
        # molecules need have none at all
        "lattice_vectors": attributes.get("lattice_vectors") or [nowhere, nowhere, nowhere],
    }
