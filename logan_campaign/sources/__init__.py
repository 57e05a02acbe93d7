"""Where training sets and sets of known structures come from.

Every source is a pydantic model with a ``type`` and a ``load``; :data:`SourceSpec` is
their union as it stands in a spec. A new source is one module and one line here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from logan_campaign.sources.base import LoadedSet, set_id
from logan_campaign.sources.builtin import BuiltinSource
from logan_campaign.sources.files import FilesSource
from logan_campaign.sources.materials_project import MaterialsProjectSource
from logan_campaign.sources.optimade import OptimadeSource
from logan_campaign.sources.preview import preview
from logan_campaign.sources.qm9 import QM9Source
from logan_campaign.sources.smiles import SmilesSource, relax_gfn2

SourceSpec = Annotated[
    FilesSource
    | SmilesSource
    | BuiltinSource
    | MaterialsProjectSource
    | QM9Source
    | OptimadeSource,
    Field(discriminator="type"),
]

__all__ = [
    "BuiltinSource",
    "FilesSource",
    "LoadedSet",
    "MaterialsProjectSource",
    "OptimadeSource",
    "QM9Source",
    "SmilesSource",
    "SourceSpec",
    "preview",
    "relax_gfn2",
    "set_id",
]
