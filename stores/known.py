"""An index of known entries, matched by exact keys without reading all entries.

Each entry is one document. Crystals are found by reduced composition and number of sites of the
primitive cell, which are the same for equal crystals; molecules by their identity key. For
crystals the primitive Niggli cell is stored beside the structure, so that nothing is reduced
twice.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from maggma.core import Store
from pydantic import ValidationError
from pymatgen.core import Composition, Molecule, Structure

from logan_campaign.core.arrays import pack_numbers, unpack_numbers
from logan_campaign.core.documents import MoleculeIdentity, StructureEntry, TargetKind
from logan_campaign.core.errors import StoreError
from logan_campaign.geometry.molecules import perceive
from logan_campaign.geometry.structures import formula
from logan_campaign.matching.bucket import Bucket
from logan_campaign.matching.crystals import CrystalMatch, CrystalMatcher
from logan_campaign.matching.reduction import Reduced, reduce_crystal
from logan_campaign.stores.open import open_store

if TYPE_CHECKING:
    from logan_campaign.campaign.spec import CampaignSpec  # slow import

_CHUNK = 500

# Entries of this many keys are cached, least recently used first out.
_MAX_KEYS = 64

#: Field with the key of a molecule, by kind of identity.
_IDENTITY_FIELD: dict[MoleculeIdentity, str] = {
    "smiles": "smiles",
    "smiles-stereo": "smiles_stereo",
    "inchi": "inchi",
}


def entries_for(spec: CampaignSpec, base: Path) -> list[StructureEntry] | None:
    """Return the entries of the targets' compositions in the index of a spec.

    None without an index. Environment variables in the location are expanded, so that a spec need
    not contain a password.

    Args:
        spec: a campaign's spec.
        base: folder of a relative path.

    Raises:
        StoreError: there is no index there, or it cannot be read.
    """
    if spec.match.index is None:
        return None
    location = os.path.expandvars(spec.match.index)
    if "://" not in location:
        location = str(base / Path(location).expanduser())
    with open_store(location) as stores:
        index = KnownIndex(stores.known_entries())
        if not any(index.count().values()):
            raise StoreError(
                f"match.index: {stores.describe()} has no known entries; "
                "add some with 'logan-campaign known add'"
            )
        kind = spec.target.structure_kind
        entries = [e for name in spec.sought(base) for e in index.of_composition(kind, name)]
        # the index finds crystals by reduced composition
        return list({entry.id: entry for entry in entries}.values())


class _Members(NamedTuple):
    bucket: Bucket
    entries: list[StructureEntry]


class KnownIndex:
    """Known entries in a store.

    Args:
        store: the collection of known entries, connected.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._members: OrderedDict[tuple[str, int], _Members] = OrderedDict()

    def add(self, entries: Iterable[StructureEntry], source: str) -> int:
        """Add entries; an existing entry of the same content is replaced.

        Args:
            entries: validated entries of a source.
            source: description of their source.

        Returns:
            The number of given entries.

        Raises:
            StoreError: they cannot be written.
        """
        n_entries, chunk = 0, []
        for entry in entries:
            chunk.append(_document(entry, source))
            n_entries += 1
            if len(chunk) == _CHUNK:
                self._store.update(chunk)
                chunk = []
        if chunk:
            self._store.update(chunk)
        self._members.clear()
        return n_entries

    def count(self) -> dict[str, int]:
        """Return the numbers of crystals and molecules."""
        return {kind: self._store.count({"kind": kind}) for kind in ("crystal", "molecule")}

    def of_composition(self, kind: TargetKind, hill: str) -> list[StructureEntry]:
        """Return the entries that can equal structures of a composition, sorted by id.

        Args:
            kind: molecules or crystals.
            hill: Hill formula of one molecule or one unit cell. The number of sites of a
                primitive cell divides the number of atoms in the cell.
        """
        criteria: dict[str, Any] = {"kind": kind, "composition": hill}
        if kind == "crystal":
            composition = Composition(hill)
            n_atoms = round(composition.num_atoms)
            divisors = [n for n in range(1, n_atoms + 1) if n_atoms % n == 0]
            criteria["composition"] = composition.reduced_formula
            criteria["n_sites"] = {"$in": divisors}
        return [_entry(doc) for doc in self._query(criteria)]

    def match_crystal(self, structure: Structure, matcher: CrystalMatcher) -> list[CrystalMatch]:
        """Return the known crystals that a crystal equals, nearest first."""
        reduced = matcher.reduced(structure)
        members = self._with_key(reduced.key)
        found = [
            CrystalMatch(members.entries[index], *distance)
            for index, distance in matcher.matches_in(reduced, members.bucket)
        ]
        return sorted(found, key=lambda match: (match.rms, match.entry.id))

    def match_molecule(
        self, molecule: Molecule, identity: MoleculeIdentity = "smiles"
    ) -> list[StructureEntry]:
        """Return the known molecules that a molecule equals, sorted by id.

        A geometry without a molecular graph equals none.
        """
        key = perceive(molecule, identity).key
        if key is None:
            return []
        return [_entry(doc) for doc in self._query({_IDENTITY_FIELD[identity]: key})]

    def _with_key(self, key: tuple[str, int]) -> _Members:
        if key in self._members:
            self._members.move_to_end(key)
            return self._members[key]
        members = _Members(Bucket(), [])
        criteria = {"kind": "crystal", "composition": key[0], "n_sites": key[1]}
        for doc in self._query(criteria):
            members.bucket.add(_reduced(doc))
            members.entries.append(_entry(doc))
        self._members[key] = members
        if len(self._members) > _MAX_KEYS:
            self._members.popitem(last=False)
        return members

    def _query(self, criteria: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._store.query(criteria, sort={"id": 1})


def _document(entry: StructureEntry, source: str) -> dict[str, Any]:
    structure = entry.structure
    doc = {**entry.model_dump(mode="json", exclude={"properties"}), "source": source}
    if isinstance(structure, Structure):
        reduced = reduce_crystal(structure, entry.id)
        return doc | {
            "kind": "crystal",
            "composition": reduced.formula,
            "n_sites": len(reduced.numbers),
            "primitive_numbers": reduced.numbers.tolist(),
            "primitive_cell": pack_numbers(reduced.lattice),
            "primitive_frac": pack_numbers(reduced.frac),
        }
    return doc | {
        "kind": "molecule",
        "composition": formula(structure),
        "n_sites": len(structure),
        "smiles_stereo": perceive(structure, "smiles-stereo").key,
        "inchi": perceive(structure, "inchi").key,
    }


def _entry(doc: dict[str, Any]) -> StructureEntry:
    fields = StructureEntry.model_fields.keys() & doc.keys()
    try:
        return StructureEntry.model_validate({name: doc[name] for name in fields})
    except ValidationError as err:
        raise StoreError(f"known entry {doc.get('id')}: the structure is damaged") from err


def _reduced(doc: dict[str, Any]) -> Reduced:
    return Reduced(
        doc["id"],
        doc["composition"],
        np.array(doc["primitive_numbers"], dtype=np.int64),
        _unpack(doc, "primitive_cell"),
        _unpack(doc, "primitive_frac"),
    )


def _unpack(doc: dict[str, Any], name: str) -> np.ndarray:
    """Return coordinates or a cell, shape (n, 3)."""
    try:
        return unpack_numbers(doc[name]).reshape(-1, 3)
    except (KeyError, ValueError) as err:
        raise StoreError(f"known entry {doc.get('id')}: {name} is damaged") from err
