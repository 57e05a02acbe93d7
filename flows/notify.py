"""Jobs that tell a person what a round brought. They never fail."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
from jobflow import Maker, job

from logan_campaign.campaign.allocation import Progress
from logan_campaign.campaign.notices import NotifySpec, notices
from logan_campaign.core.documents import (
    Notice,
    NotificationDoc,
    ReferenceDoc,
    RejudgementDoc,
    RoundDoc,
)
from logan_campaign.core.errors import LoganCampaignError
from logan_campaign.core.redaction import redact
from logan_campaign.core.trust import check_command
from logan_campaign.flows.reference import phases_of
from logan_campaign.flows.stages import stage
from logan_campaign.sources.transfer import stay_with_host

logger = logging.getLogger(__name__)

#: Time limits of a command and of a request (s).
_COMMAND_S, _REQUEST_S = 60, 20


@dataclass
class NotifyMaker(Maker):
    """Tell a person by a command, a webhook, or both.

    Attributes:
        name: Name of the job.
        how: Command and webhook.
        campaign: Name of the campaign.
        round: Round that it is about.
        formulas: Hill formulas of the campaign's targets.
        window_ev_per_atom: Largest energy above the hull of new structures that are told; None
            without a hull.
    """

    name: str = "notify"
    how: NotifySpec = field(default_factory=lambda: NotifySpec(command=["true"]))
    campaign: str = ""
    round: int = 0
    formulas: list[str] = field(default_factory=list)
    window_ev_per_atom: float | None = None

    @job(output_schema=NotificationDoc, metadata=stage("default", "notify"))
    def make(
        self,
        campaign_id: str,
        judged: RoundDoc | None,
        history: list[RoundDoc],
        phases: list[ReferenceDoc | None],
        refreshed: dict[str, Any] | None = None,
    ) -> NotificationDoc:
        """Return what was told, and why it did not arrive if it did not.

        Args:
            campaign_id: Campaign.
            judged: The round; None if the job that should have judged it died.
            history: Earlier rounds.
            phases: Elements and competing phases, for the hull.
            refreshed: As for the job that judges the round.
        """
        told = self._notices(judged, history, phases, refreshed or {})
        return NotificationDoc(
            campaign_id=campaign_id,
            round=self.round,
            notices=told,
            sent=self._send(campaign_id, told) if told else {},
        )

    def _notices(
        self,
        judged: RoundDoc | None,
        history: list[RoundDoc],
        phases: list[ReferenceDoc | None],
        refreshed: dict[str, Any],
    ) -> list[Notice]:
        if judged is None:
            text = f"round {self.round} was not judged: 'logan-campaign status' shows why"
            return [Notice(event="attention", text=text)]
        rounds = [RoundDoc.model_validate(past) for past in (*history, judged)]
        again = refreshed.get("rejudged")
        hull = None
        if self.window_ev_per_atom is not None:
            hull = Progress(self.formulas, rounds, phases_of(phases)).hull
        return notices(
            rounds[-1],
            hull,
            self.window_ev_per_atom or 0.0,
            None if again is None else RejudgementDoc.model_validate(again),
            [problem for problem in refreshed.get("problems", ()) if problem],
        )

    def _send(self, campaign_id: str, told: list[Notice]) -> dict[str, str]:
        """Return by each way '' if it was delivered, else why not."""
        text = "; ".join(notice.text for notice in told)
        message = {
            "campaign": self.campaign,
            "campaign_id": campaign_id,
            "round": self.round,
            "text": f"{self.campaign}: {text}",  # what chat services show
            "events": [notice.model_dump() for notice in told],
        }
        ways: dict[str, Callable[[], None]] = {}
        if (command := self.how.command) is not None:
            ways["command"] = lambda: _run(command, message)
        if (variable := self.how.webhook_env) is not None:
            ways["webhook"] = lambda: _post(variable, message)
        sent = {}
        for name, deliver in ways.items():
            try:
                deliver()
                sent[name] = ""
            except (LoganCampaignError, OSError, ValueError, subprocess.SubprocessError) as err:
                sent[name] = redact(str(err))
                logger.warning("notify: %s: %s", name, sent[name])
        return sent


def _run(command: list[str], message: dict[str, Any]) -> None:
    check_command(command)
    done = subprocess.run(
        command,
        input=json.dumps(message),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_COMMAND_S,
        check=False,
    )
    if done.returncode:
        raise LoganCampaignError(f"{command[0]} ended with exit code {done.returncode}")


def _post(variable: str, message: dict[str, Any]) -> None:
    url = os.environ.get(variable)
    if not url:
        raise LoganCampaignError(f"the environment variable {variable} is not set")
    if not url.startswith(("https://", "http://")):
        raise LoganCampaignError(f"the environment variable {variable} is no http(s) URL")
    try:
        answer = requests.post(
            url, json=message, timeout=_REQUEST_S, hooks={"response": stay_with_host}
        )
    except requests.RequestException as err:  # its text contains the URL, which may be secret
        raise LoganCampaignError(f"{variable}: {type(err).__name__}") from None
    if not answer.ok:
        raise LoganCampaignError(f"{variable}: the server answers {answer.status_code}")
