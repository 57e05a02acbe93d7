"""Jobs of campaigns that outlive their sources: pull anew, and judge again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jobflow import Maker, job

from logan_campaign.campaign.classification import judge_again
from logan_campaign.core.documents import (
    DATA_KEYS,
    RejudgementDoc,
    RoundDoc,
    TrainingSetDoc,
)
from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.flows.data import TrainingSetMaker, now
from logan_campaign.flows.judge import known_sets
from logan_campaign.flows.known import unpack_entries
from logan_campaign.flows.stages import stage
from logan_campaign.matching.spec import MatchingSpec


@dataclass
class RefreshMaker(TrainingSetMaker):
    """Pull a source anew; if it does not answer, the last set stays."""

    @job(data=DATA_KEYS, output_schema=TrainingSetDoc, metadata=stage("pull", "refresh"))
    def make(self, last: TrainingSetDoc) -> TrainingSetDoc:
        """Return the set as it is now.

        Args:
            last: The set of the last pull.
        """
        last = TrainingSetDoc.model_validate(last)
        try:
            loaded = self.source.load(base=Path(self.base), previous=last.manifest())
        except LoganCampaignError as err:  # sources go away; the campaign goes on
            said = f"{self.source.title} was not pulled anew: {err}"
            return last.model_copy(update={"not_refreshed": said})
        return self.pulled(loaded, last.pulled_at)


@dataclass
class RejudgeMaker(Maker):
    """Judge again what a campaign had called new.

    Attributes:
        name: Name of the job.
        matching: When structures are equal.
    """

    name: str = "judge again"
    matching: MatchingSpec = field(default_factory=MatchingSpec)

    @job(data=DATA_KEYS, output_schema=RejudgementDoc, metadata=stage("match", "rejudge"))
    def make(
        self,
        campaign_id: str,
        known: list[TrainingSetDoc],
        before: list[str],
        rounds: list[RoundDoc] | None = None,
        packed: str = "",
    ) -> RejudgementDoc:
        """Return the new verdicts; none if no set has changed.

        Args:
            campaign_id: Campaign.
            known: Training set and known sets as they are now.
            before: Ids of the sets before.
            rounds: Rounds whose new structures are judged.
            packed: Instead of rounds: structures labelled by candidate, by
                :func:`~logan_campaign.flows.known.pack_entries`.
        """
        sets = known_sets(known)
        found = unpack_entries(packed) if packed else []
        for past in map(RoundDoc.model_validate, rounds or []):
            new = {one.candidate_id for one in past.found if one.state == "new"}
            found += [entry for entry in past.structures if entry.label in new]
        ids = [s.id for s in sets]
        changed = bool(set(ids) - set(before))
        return RejudgementDoc(
            campaign_id=campaign_id,
            judged_at=now(),
            known_set_ids=ids,
            verdicts=judge_again(found, sets, self.matching) if changed and found else [],
        )
