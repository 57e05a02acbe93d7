"""Whatever is asked of any route, the answer is no server error."""

# ruff: noqa: E402 (what follows needs what is skipped for)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the browser needs the extra 'web'")
schemathesis = pytest.importorskip("schemathesis", reason="makes up the requests")

from hypothesis import HealthCheck, Phase, given, settings

from logan_campaign.results import Results
from logan_campaign.web.app import create_app

from .campaign import ShownCampaign, store_campaigns

_EXAMPLES = 10  # of each route


def test_no_request_ends_in_a_server_error(tmp_path: Path) -> None:
    place = store_campaigns(tmp_path / "demo", ShownCampaign())
    seen: dict[str, set[int]] = {}
    with Results.open(place) as results:
        app = create_app(results)
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"host": "localhost"})
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(
                max_examples=_EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def ask(case: Any) -> None:
                answer = case.call(headers={"host": "localhost"})
                assert answer.status_code < 500, (answer.request.url, answer.text)
                seen.setdefault(case.operation.path, set()).add(answer.status_code)

            ask()
    assert len(seen) >= 15
    # requests that get past validation were among them
    assert 200 in seen["/candidates"]
