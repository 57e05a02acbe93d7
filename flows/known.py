"""Known entries that were looked up in an index before the flow was made."""

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

# Characters of packed entries that may stand in a job's input: MongoDB refuses 16 MB.
_MAX_PACKED = 8_000_000


@dataclass
class KnownEntriesMaker(Maker):
    """Give entries of an index, or of other campaigns, the form in which matching takes them.

    A job opens no database: whoever makes the flow looks the entries up (by composition)
    and hands them over packed.

    Attributes:
        name: Name of the job.
        index: The index that they come from, for people; '' for other campaigns.
    """

    name: str = "known entries"
    index: str = "index"

    @job(data=DATA_KEYS, output_schema=TrainingSetDoc, metadata=stage("pull"))
    def make(self, packed: str) -> TrainingSetDoc:
        """Return the set.

        Args:
            packed: Entries as :func:`pack_entries` packs them.
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
        InputError: if that is too large for a job's input.
    """
    packed = pack([entry.model_dump(mode="json") for entry in entries])
    if len(packed) > _MAX_PACKED:
        raise InputError(
            f"match.index holds {len(entries)} entries of the target's composition, too many "
            f"for one job ({len(packed) / 1e6:.0f} MB packed, limit {_MAX_PACKED / 1e6:.0f} MB)"
        )
    return packed


def unpack_entries(packed: str) -> list[StructureEntry]:
    """Return the entries that :func:`pack_entries` packed.

    Raises:
        ValueError: if the text is damaged.
    """
    return [StructureEntry.model_validate(entry) for entry in unpack(packed)]
