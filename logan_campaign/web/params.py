"""What addresses may ask for; anything else is answered with an error page."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from logan_campaign.core.documents import CandidateState
from logan_campaign.stores.filters import (
    CandidateFilters,
    CandidateOrder,
    MaterialFilters,
    MaterialState,
)

#: Rows of a page.
PAGE_SIZE = 50
#: Pages that can be turned to; a database walks through all that come before.
LAST_PAGE = 100


def _no_text_is_none(value: Any) -> Any:
    # A form sends what was left empty as an empty text.
    return None if isinstance(value, str) and not value.strip() else value


_Empty = BeforeValidator(_no_text_is_none)
Text = Annotated[Annotated[str, Field(max_length=200, pattern=r"^[ -~]+$")] | None, _Empty]
Identity = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]+$", max_length=80)]
OptionalIdentity = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=80)] | None, _Empty
]
Energy = Annotated[Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)] | None, _Empty]
Round = Annotated[Annotated[int, Field(ge=0, le=1_000_000)] | None, _Empty]
Number = Annotated[int, Field(ge=1, le=LAST_PAGE)]


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid")

    page: Number = 1

    def query(self, **changes: Any) -> str:
        """Return the query part of the address that asks for this, with changes."""
        values = {**self.model_dump(exclude_defaults=True), **changes}
        return urlencode({k: v for k, v in values.items() if v is not None}, doseq=True)


class CandidateParams(_Params):
    """Filters and order of a list of candidates."""

    state: Annotated[CandidateState | None, _Empty] = None
    formula: Text = None
    smiles: Text = None
    spacegroup: Text = None
    level: Text = None
    model: OptionalIdentity = None
    material: OptionalIdentity = None
    round: Annotated[int | None, BeforeValidator(_no_text_is_none), Field(ge=0, le=1_000_000)] = (
        None
    )
    max_energy: Energy = None
    max_hull: Energy = None
    sort: CandidateOrder | None = None
    descending: bool = False

    def filters(self) -> CandidateFilters:
        """Return the filters as queries take them."""
        return {
            "state": self.state,
            "formula": self.formula,
            "smiles": self.smiles,
            "spacegroup": self.spacegroup,
            "level": self.level,
            "model": self.model,
            "material": self.material,
            "round": self.round,
            "energy_above_min_lte": self.max_energy,
            "energy_above_hull_lte": self.max_hull,
        }


class MaterialParams(_Params):
    """Filters of a list of materials."""

    state: Annotated[MaterialState | None, _Empty] = None
    formula: Text = None
    smiles: Text = None
    spacegroup: Text = None

    def filters(self) -> MaterialFilters:
        """Return the filters as queries take them."""
        return {
            "state": self.state,
            "formula": self.formula,
            "smiles": self.smiles,
            "spacegroup": self.spacegroup,
        }
