"""Common interface of the methods of generation.

``wgan`` is the method of the paper: a generator and a critic of local environments
(:mod:`logan_campaign.generators.wgan`). ``descent`` also judges structures by the
environments of their atoms, but needs neither network
(:mod:`logan_campaign.generators.descent`). ``random`` learns nothing
(:mod:`logan_campaign.generators.random`). Plugins name theirs in the entry-point group
``logan_campaign.generators``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ValidationError

from logan_campaign.core.errors import InputError, ModelFileError, plain
from logan_campaign.core.model_files import file_kind
from logan_campaign.core.registry import SpecRegistry
from logan_campaign.generators.base import Method, Model, TrainingResult

__all__ = ["DEFAULT_METHOD", "METHODS", "Method", "Model", "Settings", "TrainingResult", "load"]

#: Default method; docs/benchmarks/descent.md gives the reasons.
DEFAULT_METHOD = "descent"


def _meant(said: Mapping[str, Any]) -> str:
    """Return the method that settings without 'method' are for.

    Who sets what only networks have means them, as every record of a trained network does.
    """
    networks, other = METHODS.get("wgan"), METHODS.get(DEFAULT_METHOD)
    only = networks.model_fields.keys() - other.model_fields.keys()
    return "wgan" if only & set(said) else DEFAULT_METHOD


METHODS = SpecRegistry(
    "method",
    "logan_campaign.generators",
    Method,  # type: ignore[type-abstract]
    {
        "descent": "logan_campaign.generators.descent.settings:DescentHyperparameters",
        "wgan": "logan_campaign.generators.wgan.settings:Hyperparameters",
        "random": "logan_campaign.generators.random.settings:RandomStructures",
    },
    key="method",
    default=_meant,
)

#: Settings of a method as they stand in a spec.
Settings = Annotated[Method, METHODS]


def settings_from(said: Mapping[str, Any]) -> Method:
    """Return the settings in a record; without a method, those of 'wgan'.

    Raises:
        InputError: for a method that is not known, or settings that it does not have.
    """
    try:
        return METHODS.parse({"method": "wgan", **said})
    except ValidationError as err:
        raise InputError("; ".join(plain(item["msg"]) for item in err.errors())) from err


def load(content: bytes) -> Model:
    """Return the model in the bytes of a file of any method.

    Raises:
        ModelFileError: if the bytes are truncated, foreign or of an unknown version.
    """
    kind = file_kind(content)
    for method in METHODS.loaded().values():
        if method.file_format == kind:
            return method.load(content)
    raise ModelFileError(f"the file is no model of {' or '.join(METHODS.names)}")
