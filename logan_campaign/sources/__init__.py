"""Sources of training sets and known sets.

Every source is a model with a literal ``type`` and a ``load``. A new source is one module and one
line here, or a plugin's entry point in the group ``logan_campaign.sources``.
"""

from __future__ import annotations

from typing import Annotated

from logan_campaign.core.registry import SpecRegistry
from logan_campaign.sources.base import LoadedSet, Preview, Source, set_id
from logan_campaign.sources.builtin import BuiltinSource
from logan_campaign.sources.files import FilesSource
from logan_campaign.sources.materials_project import MaterialsProjectSource
from logan_campaign.sources.optimade import OptimadeSource
from logan_campaign.sources.qm9 import QM9Source
from logan_campaign.sources.smiles import SmilesSource

_INDEPENDENT = {
    "files": "logan_campaign.sources.files:FilesSource",
    "smiles": "logan_campaign.sources.smiles:SmilesSource",
    "builtin": "logan_campaign.sources.builtin:BuiltinSource",
    "mp": "logan_campaign.sources.materials_project:MaterialsProjectSource",
    "qm9": "logan_campaign.sources.qm9:QM9Source",
    "optimade": "logan_campaign.sources.optimade:OptimadeSource",
}


def _registry(builtin: dict[str, str]) -> SpecRegistry[Source]:
    # the class is abstract; only subclasses are made
    return SpecRegistry("source", "logan_campaign.sources", Source, builtin, key="type")  # type: ignore[type-abstract]


SOURCES = _registry(
    {**_INDEPENDENT, "substitute": "logan_campaign.sources.substitute:SubstituteSource"}
)

#: A source as it stands in a spec: whatever is registered.
SourceSpec = Annotated[Source, SOURCES]
#: A source that takes structures from no other source.
IndependentSource = Annotated[Source, _registry(_INDEPENDENT)]

__all__ = [
    "SOURCES",
    "BuiltinSource",
    "FilesSource",
    "IndependentSource",
    "LoadedSet",
    "MaterialsProjectSource",
    "OptimadeSource",
    "Preview",
    "QM9Source",
    "SmilesSource",
    "Source",
    "SourceSpec",
    "set_id",
]
