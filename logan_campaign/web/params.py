"""Query parameters of pages; others lead to an error page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlencode

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from logan_campaign.core.documents import Record
from logan_campaign.stores.filters import Filter, candidate_orders, filters_of
from logan_campaign.stores.records import CandidateRecord, MaterialRecord

#: Rows of a page.
PAGE_SIZE = 50
#: Largest page number, since a database reads through all previous rows.
LAST_PAGE = 100


def _no_text_is_none(value: Any) -> Any:
    # A form sends empty fields as empty text.
    return None if isinstance(value, str) and not value.strip() else value


_Empty = BeforeValidator(_no_text_is_none)
Identity = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]+$", max_length=80)]
#: Limits of the values of each type.
_TYPES: dict[type, Any] = {
    str: Annotated[str, Field(max_length=200, pattern=r"^[ -~]+$")],
    int: Annotated[int, Field(ge=0, le=1_000_000)],
    float: Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)],
}
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", max_length=80)]


class Params(BaseModel):
    """Filters of a list, and the page number."""

    model_config = ConfigDict(extra="forbid")

    record: ClassVar[type[Record]]

    page: Annotated[int, Field(ge=1, le=LAST_PAGE)] = 1
    element: list[Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")]] = Field([], max_length=20)

    def query(self, **changes: Any) -> str:
        """Return the query string of these parameters, with changes."""
        values = {**self.model_dump(exclude_defaults=True), **changes}
        return urlencode({k: v for k, v in values.items() if v is not None}, doseq=True)

    def filters(self) -> dict[str, Any]:
        """Return the filters as arguments of queries."""
        return {
            name: getattr(self, param)
            for about in filters_of(self.record).values()
            for param, name in params_of(about)
        }

    def form(self, **choices: Sequence[str]) -> list[dict[str, Any]]:
        """Return the fields of the form: those with a label or a given value.

        Args:
            **choices: possible values of a parameter on this page; empty to omit it.
        """
        found = []
        for about in filters_of(self.record).values():
            for param, _ in params_of(about):
                value, options = getattr(self, param), choices.get(param, about.choices)
                told = about.column.label and not param.startswith("min_")
                if value is None and (not told or choices.get(param) == ()):
                    continue
                label = about.column.label or param
                found.append(
                    {
                        "name": param,
                        "label": f"at most {label}" if told and about.column.window else label,
                        "value": value,
                        "choices": options,
                        "number": about.type is not str,
                        "whole": about.type is int,
                    }
                )
        return found


def params_of(about: Filter) -> list[tuple[str, str]]:
    """Return the parameters of a filter, with their names in queries."""
    name = about.column.option or about.name
    if about.column.window:
        return [(f"max_{name}", f"{about.name}_lte"), (f"min_{name}", f"{about.name}_gte")]
    # the campaign is part of the address
    return [(name, about.name)] if about.name != "campaign" else []


def _params(record: type[Record]) -> dict[str, Any]:
    found = {}
    for about in filters_of(record).values():
        kind: Any = Literal[about.choices] if about.choices else _TYPES[about.type]
        kind = Id if about.column.refers or about.column.few else kind
        for param, _ in params_of(about):
            found[param] = (Annotated[kind | None, _Empty], None)
    return found


class _CandidateParams(Params):
    record = CandidateRecord

    sort: Annotated[Literal[tuple(candidate_orders())] | None, _Empty] = None  # type: ignore[valid-type]
    descending: bool = False


class _MaterialParams(Params):
    record = MaterialRecord


#: Filters and order of a list of candidates.
CandidateParams = create_model(
    "CandidateParams", __base__=_CandidateParams, **_params(CandidateRecord)
)
#: Filters of a list of materials.
MaterialParams = create_model("MaterialParams", __base__=_MaterialParams, **_params(MaterialRecord))
