"""Templates of the browser."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import plotly
from fastapi import Request
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from logan_campaign import __version__
from logan_campaign.results.report.page import FILTERS, asset, plotly_source

#: Scripts and styles by name, with media types.
MEDIA_TYPES = {
    "style.css": "text/css",
    "charts.js": "text/javascript",
    "3Dmol-min.js": "text/javascript",
    "view3d.js": "text/javascript",
    "browser.js": "text/javascript",
    "plotly.js": "text/javascript",
}


@lru_cache(maxsize=len(MEDIA_TYPES))
def static_file(name: str) -> bytes:
    """Return a script or style that pages load.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in MEDIA_TYPES:
        raise KeyError(name)
    if name == "plotly.js":
        return plotly_source().encode()
    if name == "browser.js":
        path = files("logan_campaign.web") / "static" / name
        return path.read_bytes()
    return asset(name).encode()


@lru_cache(maxsize=1)
def static_version() -> str:
    """Return a short hash of all files."""
    seen = sha256(f"{__version__} {plotly.__version__}".encode())
    for name in MEDIA_TYPES:
        if name != "plotly.js":
            seen.update(static_file(name))
    return seen.hexdigest()[:12]


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("logan_campaign.web")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals["static_version"] = static_version()
    environment.globals["version"] = __version__
    return environment


def page(request: Request, template: str, **values: Any) -> str:
    """Return a page as HTML."""
    state = request.app.state
    return (
        _environment()
        .get_template(template)
        .render(
            store=state.results.stores.describe(),
            has_optimade=state.has_optimade,
            **values,
        )
    )
