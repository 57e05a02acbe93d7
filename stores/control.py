"""The control document of a campaign: rules that can be changed during its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from logan_campaign.core.documents import ControlDoc
from logan_campaign.core.ids import control_uuid
from logan_campaign.stores.derive import read_job
from logan_campaign.stores.open import CampaignStores


class Control(NamedTuple):
    """Access to the control document of a campaign.

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
        """Return the current version; None before the job that writes the first one has run.

        Raises:
            StoreError: the document is damaged.
        """
        last = self._last()
        return None if last is None else read_job(last, ControlDoc).output

    def write(self, spec_stop: dict[str, Any], stop: dict[str, Any]) -> None:
        """Write a new version, also before a job has written the first one.

        Args:
            spec_stop: stop rules of the spec.
            stop: stop rules to apply.
        """
        last = self._last() or {"index": 1}
        before = self.read()
        document = ControlDoc(
            campaign_id=self.campaign_id,
            spec_stop=spec_stop,
            stop=stop,
            started_at="" if before is None else before.started_at,
        )
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
