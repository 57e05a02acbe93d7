"""Known entries, looked up in an index before the flow is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker, job

from logan_campaign.core.documents import DATA_KEYS, StructureEntry, TrainingSetDoc
from logan_campaign.core.errors import InputError
from logan_campaign.flows.data import set_document
from logan_campaign.flows.local.codec import pack, unpack
from logan_campaign.flows.stages import stage
from logan_campaign.sources import LoadedSet

# Maximum length of packed entries in a job's input: MongoDB refuses documents of 16 MB.
_MAX_PACKED = 8_000_000


@dataclass
class KnownEntriesMaker(Maker):
    """Convert entries of an index, or of other campaigns, to a known set.

    Jobs open no database: the entries are looked up by composition when the flow is made, and
    passed to the job packed.

    Attributes:
        name: Name of the job.
        index: Description of the index; '' for other campaigns.
    """

    name: str = "known entries"
    index: str = "index"

    @job(data=DATA_KEYS, output_schema=TrainingSetDoc, metadata=stage("pull"))
    def make(self, packed: str) -> TrainingSetDoc:
        """Return the set.

        Args:
            packed: Result of :func:`pack_entries`.
        """
        loaded = LoadedSet(unpack_entries(packed))
        return set_document(
            loaded,
            role="known",
            name=f"index {self.index}" if self.index else "found by other campaigns",
            query={"type": "index", "index": self.index} if self.index else {"type": "campaigns"},
        )


def pack_entries(entries: Sequence[StructureEntry]) -> str:
    """Return entries of one kind as one compressed text.

    Raises:
        InputError: the text is too large for a job's input.
    """
    packed = pack([entry.model_dump(mode="json") for entry in entries])
    if len(packed) > _MAX_PACKED:
        raise InputError(
            f"match.index has {len(entries)} entries of the target's composition, too many "
            f"for one job ({len(packed) / 1e6:.0f} MB packed, limit {_MAX_PACKED / 1e6:.0f} MB)"
        )
    return packed


def unpack_entries(packed: str) -> list[StructureEntry]:
    """Return the entries in a text of :func:`pack_entries`.

    Raises:
        ValueError: if the text is damaged.
    """
    return [StructureEntry.model_validate(entry) for entry in unpack(packed)]
