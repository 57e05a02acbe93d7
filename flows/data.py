"""Jobs that bring structures into a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jobflow import Maker, job

from logan_campaign.schemas import DATA_KEYS, TrainingSetDoc
from logan_campaign.sources import BuiltinSource, SourceSpec, set_id


@dataclass
class TrainingSetMaker(Maker):
    """Load a source, validate and de-duplicate its structures, and give them identity.

    Attributes:
        name: Name of the job.
        source: Where the structures come from.
        role: 'training' for a set that models learn from, 'known' for one that is only
            compared against.
        base: Folder that relative paths of the source are meant from.
    """

    name: str = "training set"
    source: SourceSpec = field(
        default_factory=lambda: BuiltinSource(name="alcohols-and-ethers", formulas=["C4H10O"])
    )
    role: Literal["training", "known"] = "training"
    base: str = "."

    @job(data=DATA_KEYS, output_schema=TrainingSetDoc)
    def make(self) -> TrainingSetDoc:
        """Return the set.

        Raises:
            InputError: the source cannot be read, or nothing in it is usable.
        """
        loaded = self.source.load(base=Path(self.base))
        return TrainingSetDoc(
            id=set_id(loaded.entries),
            role=self.role,
            name=self.source.title,
            source=self.source.model_dump(mode="json"),
            n_structures=len(loaded.entries),
            formulas=loaded.formulas,
            species=loaded.species,
            structure_ids=[entry.id for entry in loaded.entries],
            labels=[entry.label for entry in loaded.entries],
            n_duplicates=loaded.n_duplicates,
            rejected=loaded.rejected,
            structures=loaded.entries,
        )
