"""Jobs that bring structures into a campaign."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from jobflow import Maker, job

from logan_campaign.core.documents import DATA_KEYS, LeakageDoc, Manifest, TrainingSetDoc
from logan_campaign.flows.stages import stage
from logan_campaign.geometry.pairs import pairs_side_by_side
from logan_campaign.matching.leakage import find_leaks
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.sources import BuiltinSource, LoadedSet, SourceSpec, set_id


def now() -> str:
    """Return the time as ISO 8601 text in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class TrainingSetMaker(Maker):
    """Pull a source: validate its structures, remove duplicates and assign ids.

    Attributes:
        name: Name of the job.
        source: Source of the structures.
        role: 'training' for a training set, 'known' for a set used only for comparison,
            'external' for structures that are candidates.
        base: Folder of relative paths of the source.
        leave_out_unchanged: Return no structures if all records equal those of the previous
            pull, whose structures the caller keeps.
    """

    name: str = "training set"
    source: SourceSpec = field(
        default_factory=lambda: BuiltinSource(name="alcohols-and-ethers", formulas=["C4H10O"])
    )
    role: Literal["training", "known", "external"] = "training"
    base: str = "."
    leave_out_unchanged: bool = False

    @job(data=DATA_KEYS, output_schema=TrainingSetDoc, metadata=stage("pull"))
    def make(self, previous: Manifest | None = None) -> TrainingSetDoc:
        """Return the set.

        Args:
            previous: Result of the last pull of the same source, if there was one.

        Raises:
            InputError: the source cannot be read, or has no usable entry.
            SourceError: a source on the network does not answer correctly.
        """
        if previous is not None:
            previous = Manifest.model_validate(previous)
        loaded = self.source.load(base=Path(self.base), previous=previous)
        unchanged = (
            previous is not None
            and previous.records == loaded.records
            and previous.origin == loaded.origin
        )
        return self.pulled(
            loaded,
            previous.pulled_at if previous is not None else "",
            unchanged=unchanged and self.leave_out_unchanged,
            structures=[] if unchanged and self.leave_out_unchanged else loaded.entries,
        )

    def pulled(self, loaded: LoadedSet, previous_at: str, **about: Any) -> TrainingSetDoc:
        """Return the document of a set that was pulled now.

        Args:
            loaded: The set.
            previous_at: Time of the pull before; '' for none.
            **about: Further fields of the document.
        """
        return set_document(
            loaded,
            role=self.role,
            name=self.source.title,
            query=self.source.model_dump(mode="json"),
            query_id=self.source.query_id,
            pulled_at=now(),
            origin=loaded.origin,
            previous_at=previous_at,
            records=loaded.records,
            **about,
        )


def set_document(loaded: LoadedSet, **about: Any) -> TrainingSetDoc:
    """Return the document of a set.

    Args:
        loaded: The set.
        **about: Further fields of the document, which come first.
    """
    told = {
        "id": set_id(loaded.entries),
        "n_structures": len(loaded.entries),
        "formulas": loaded.formulas,
        "species": loaded.species,
        "pairs": pairs_side_by_side(entry.structure for entry in loaded.entries),
        "structure_ids": [entry.id for entry in loaded.entries],
        "labels": [entry.label for entry in loaded.entries],
        "n_duplicates": loaded.n_duplicates,
        "rejected": loaded.rejected,
        "structures": loaded.entries,
    }
    return TrainingSetDoc.model_validate({**told, **about})


@dataclass
class LeakageMaker(Maker):
    """Check for leakage: known entries of a campaign in its training set.

    Attributes:
        name: Name of the job.
        matching: When molecules are equal; crystals are compared at all tolerances.
    """

    name: str = "leakage"
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=LeakageDoc, metadata=stage("match", "leakage"))
    def make(
        self, training: list[TrainingSetDoc], known: list[TrainingSetDoc], campaign_id: str
    ) -> LeakageDoc:
        """Return the training entries that match each known entry."""
        trained_on = [TrainingSetDoc.model_validate(doc) for doc in training]
        targets = [TrainingSetDoc.model_validate(doc) for doc in known]
        return LeakageDoc(
            campaign_id=campaign_id,
            training_set_ids=[doc.id for doc in trained_on],
            known_set_ids=[doc.id for doc in targets],
            targets=find_leaks(
                [entry for doc in targets for entry in doc.structures],
                [entry for doc in trained_on for entry in doc.structures],
                self.matching.identity,
                self.matching.rmsd,
            ),
        )
