"""The control document of a campaign: rules that may be changed while it goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from logan_campaign.core.documents import ControlDoc
from logan_campaign.core.ids import control_uuid
from logan_campaign.stores.derive import read_job
from logan_campaign.stores.open import CampaignStores


class Control(NamedTuple):
    """Where the control document of a campaign is kept.

    Attributes:
        stores: opened stores.
        campaign_id: id of the campaign.
        campaign: its name.
    """

    stores: CampaignStores
    campaign_id: str
    campaign: str

    def _last(self) -> dict[str, Any] | None:
        found = self.stores.docs.query({"uuid": control_uuid(self.campaign_id)}, sort={"index": -1})
        return next(iter(found), None)

    def read(self) -> ControlDoc | None:
        """Return the last version; None if the job that writes the first one has not run.

        Raises:
            StoreError: if it is damaged.
        """
        last = self._last()
        return None if last is None else read_job(last, ControlDoc).output

    def write(self, spec_stop: dict[str, Any], stop: dict[str, Any]) -> None:
        """Put a new version over the last one, or over the one that a job is still to write.

        Args:
            spec_stop: the stop rules as the spec has them.
            stop: the stop rules that are to be in force.
        """
        last = self._last() or {"index": 1}
        document = ControlDoc(campaign_id=self.campaign_id, spec_stop=spec_stop, stop=stop)
        self.stores.docs.update(
            {
                "uuid": control_uuid(self.campaign_id),
                "index": last["index"] + 1,
                "name": "control",
                "output": document.model_dump(mode="json"),
                "completed_at": datetime.now(UTC).replace(tzinfo=None).isoformat(),
                "hosts": last.get("hosts", []),
                "metadata": {"campaign_id": self.campaign_id, "campaign": self.campaign},
            },
            key=["uuid", "index"],
        )
