"""The pages: campaigns, candidates, structures, models, materials, sets, lineage, report."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Composition, Structure
from starlette.exceptions import HTTPException

from logan_campaign.core.errors import InputError, LoganCampaignError
from logan_campaign.results import Campaign, Results
from logan_campaign.results.description import crystal, facts
from logan_campaign.results.pictures import picture
from logan_campaign.results.queries import CandidateQuery
from logan_campaign.results.report import charts, gather, render
from logan_campaign.results.report.discoveries import material_names
from logan_campaign.results.report.page import hull_charts
from logan_campaign.results.report.powder import powder_chart
from logan_campaign.results.report.view3d import view3d
from logan_campaign.stores.filters import candidate_orders
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    TrainingSetRecord,
    pairs_text,
    without_pairs,
)
from logan_campaign.web.downloads import download, formats
from logan_campaign.web.lineage_drawing import draw_lineage, named_kind
from logan_campaign.web.params import (
    LAST_PAGE,
    PAGE_SIZE,
    CandidateParams,
    Id,
    Identity,
    MaterialParams,
    Params,
)
from logan_campaign.web.periodic import Cell, periodic_table
from logan_campaign.web.rendering import MEDIA_TYPES, page, static_file

router = APIRouter()

#: Candidates of a campaign whose report is made while somebody waits.
REPORT_LIMIT = 5_000
#: Candidates of a material or model that its page lists.
_LISTED = 20
#: Discoveries that a campaign's page shows as pictures.
_PICTURED = 12
#: Candidates on the charts of a hull, those nearest to it first.
_CHARTED = 5_000
#: Candidates of which a lineage is drawn.
_LINEAGE_LIMIT = 60

_REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; sandbox allow-scripts allow-downloads allow-popups"
)


def _results(request: Request) -> Results:
    found: Results = request.app.state.results
    return found


Opened = Annotated[Results, Depends(_results)]


class NoParams(BaseModel):
    """Pages without query parameters."""

    model_config = ConfigDict(extra="forbid")


Nothing = Annotated[NoParams, Query()]


class Two(BaseModel):
    """Two candidates, by id or a unique beginning of it."""

    model_config = ConfigDict(extra="forbid")

    first: Id
    second: Id


class Chosen(BaseModel):
    """Candidates by id, and the format of the file that they are sent in."""

    model_config = ConfigDict(extra="forbid")

    id: list[Id] = Field(min_length=1, max_length=PAGE_SIZE)
    fmt: str = Field(max_length=40)


def _campaign(results: Results, identity: str) -> CampaignRecord:
    return results.campaign(identity).record


@router.get("/", response_class=HTMLResponse)
def campaigns(request: Request, results: Opened, _: Nothing) -> str:
    """List the campaigns of the store."""
    found = results.campaigns()
    counts = {record.id: results.database.counts(record.id) for record in found}
    return page(request, "campaigns.html", campaigns=found, counts=counts)


@router.get("/campaigns/{identity}", response_class=HTMLResponse)
def campaign(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show a campaign and its progress."""
    record = _campaign(results, identity)
    sets = results.database.training_sets(record.id)
    return page(
        request,
        "campaign.html",
        record=record,
        models=results.database.models(record.id),
        sets=sets,
        unlearned=pairs_text(without_pairs(record, sets), record.kind),
        has_report=record.n_candidates <= REPORT_LIMIT,
        hull_charts=_charts_of_hull(results, record),
        found=_found(results, record).page(0, _PICTURED),
        n_found=_found(results, record).count(),
        **_live(request, results, record),
    )


def _found(results: Results, record: CampaignRecord) -> CandidateQuery:
    """Return what a campaign found, the lowest energies first."""
    query = results.candidates(campaign=record.id, state=["new", "rediscovered"])
    return query.sorted_by("best").without_structures()


def _charts_of_hull(results: Results, record: CampaignRecord) -> list[Any]:
    """Return the charts of a campaign's hull, with the candidates nearest to it."""
    if record.hull is None:
        return []
    query = results.candidates(campaign=record.id, level=record.hull.level).without_structures()
    found = query.sorted_by("energy_above_hull").page(0, _CHARTED)
    return [chart for chart in hull_charts(record, found) if chart[2] is not None]


def _live(request: Request, results: Results, record: CampaignRecord) -> dict[str, Any]:
    ask = request.app.state.progress
    return {
        "progress": ask(record) if ask is not None else None,
        "counts": results.database.counts(record.id),
        "n_generated": sum(s.n_generated for s in record.selections),
        "n_unusable": sum(sum(s.n_unusable.values()) for s in record.selections),
    }


@router.get("/campaigns/{identity}/progress", response_class=HTMLResponse)
def progress(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show the progress of a campaign: the part of its page that changes during a run."""
    record = _campaign(results, identity)
    return page(request, "progress.html", record=record, **_live(request, results, record))


@router.get("/campaigns/{identity}/candidates", response_class=HTMLResponse)
def campaign_candidates(
    request: Request,
    results: Opened,
    identity: Identity,
    params: Annotated[CandidateParams, Query()],
) -> str:
    """List the candidates of a campaign."""
    return _candidates(request, results, params, _campaign(results, identity))


@router.get("/candidates", response_class=HTMLResponse)
def candidates(
    request: Request, results: Opened, params: Annotated[CandidateParams, Query()]
) -> str:
    """List the candidates of all campaigns."""
    return _candidates(request, results, params, None)


def _candidates(
    request: Request, results: Results, params: Any, record: CampaignRecord | None
) -> str:
    filters, elements = _with_elements(results, params, record)
    # Energies of different campaigns are not comparable, so 'best' is for a single campaign.
    sort = params.sort or ("energy" if record is None else "best")
    if record is None and sort == "best":
        raise HTTPException(422, "the order 'best' is for the candidates of one campaign")
    query = results.candidates(**filters).without_structures()
    ordered = query.sorted_by(sort, params.descending)
    found = ordered.page(params.page - 1, PAGE_SIZE)
    return _listing(
        request,
        "candidates.html",
        record,
        params,
        n_found=query.count(),
        elements=elements,
        formats=list(dict.fromkeys(fmt for one in found[:1] for fmt in formats(one))),
        sort=sort,
        candidates=found,
        levels=record.levels if record is not None else [],
        orders=candidate_orders(),
    )


def _with_elements(
    results: Results, params: Params, record: CampaignRecord | None
) -> tuple[dict[str, Any], list[Cell]]:
    """Return the filters of a list, and the periodic table of what there is to filter by."""
    filters = params.filters()
    if record is not None:
        filters["campaign"] = record.id
    campaign = {} if record is None else {"campaign": record.id}
    contents = {
        formula: {element.symbol for element in Composition(formula)}
        for formula in results.candidates(**campaign).values("formula")
    }
    if params.element:
        asked = filters.get("formula")
        filters["formula"] = [
            formula
            for formula, found in contents.items()
            if found.issuperset(params.element) and asked in (None, formula)
        ]
    return filters, periodic_table(set().union(*contents.values()))


def _listing(
    request: Request,
    template: str,
    record: CampaignRecord | None,
    params: Params,
    **values: Any,
) -> str:
    """Return a page of a list, of one campaign or of all."""
    limits = {"page_size": PAGE_SIZE, "last_page": LAST_PAGE}
    return page(request, template, record=record, params=params, **limits, **values)


@router.get("/candidates/export")
def selection_file(results: Opened, params: Annotated[Chosen, Query()]) -> Response:
    """Send chosen candidates as one file."""
    found = {record.id: record for record in map(results.candidate, params.id)}
    return _file(list(found.values()), params.fmt)


@router.get("/candidates/{identity}", response_class=HTMLResponse)
def candidate(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show a candidate: its structure, relaxations and energies."""
    record = results.candidate(identity)
    energies: dict[str, Any] = {}
    unread: list[str] = []
    frames = None
    for relaxation in record.relaxations:
        title = f"{relaxation.level} ({relaxation.calculator})"
        try:
            trajectory = results.trajectory(relaxation)
        except LoganCampaignError as err:  # the page is useful without it
            unread.append(str(err))
            continue
        energies[title] = trajectory.energies_ev
        frames = trajectory.positions
    structure = record.structure or record.raw_structure
    symmetry = crystal(structure) if isinstance(structure, Structure) else None
    views = {
        name: view3d(shown, frames if name == "relaxed" else None)
        for name, shown in (
            ("relaxed", record.structure),
            ("generated", record.raw_structure),
            ("conventional cell", symmetry and symmetry.conventional),
            ("primitive cell", symmetry and symmetry.conventional.get_primitive_structure()),
        )
        if shown is not None
    }
    return page(
        request,
        "candidate.html",
        record=record,
        views=views,
        energies=charts.trajectory_chart(energies),
        powder=powder_chart(structure) if isinstance(structure, Structure) else None,
        facts=facts(structure) if structure is not None else {},
        n_atoms=len(structure or ()),
        unread=unread,
        formats=formats(record),
    )


@router.get("/candidates/{identity}/download/{fmt}")
def candidate_file(
    results: Opened, identity: Identity, fmt: str, generated: bool = False
) -> Response:
    """Send a candidate as a file."""
    return _file([results.candidate(identity)], fmt, generated)


def _file(records: list[CandidateRecord], fmt: str, generated: bool = False) -> Response:
    try:
        made = download(records, fmt, generated)
    except InputError as err:
        raise HTTPException(404, str(err)) from err
    return Response(
        made.content,
        media_type=made.media_type,
        headers={"Content-Disposition": f'attachment; filename="{made.name}"'},
    )


@router.get("/candidates/{identity}/picture.svg")
def candidate_picture(results: Opened, identity: Identity, _: Nothing) -> Response:
    """Send a small picture of a candidate."""
    return Response(picture(results.candidate(identity)), media_type="image/svg+xml")


@router.get("/compare", response_class=HTMLResponse)
def compare(request: Request, results: Opened, params: Annotated[Two, Query()]) -> str:
    """Show two candidates side by side."""
    both = [results.candidate(identity) for identity in (params.first, params.second)]
    shown = [record.structure or record.raw_structure for record in both]
    told = [facts(structure) if structure is not None else {} for structure in shown]
    return page(
        request,
        "compare.html",
        records=both,
        views=[view3d(structure) for structure in shown if structure is not None],
        facts=told,
        names=list(dict.fromkeys([*told[0], *told[1]])),
    )


@router.get("/lineage/{identity}", response_class=HTMLResponse)
def lineage(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show the lineage of a candidate or material."""
    record = results.find(identity)
    if not isinstance(record, CandidateRecord | MaterialRecord | TrainingSetRecord | ModelRecord):
        raise InputError(f"{record.id} is a campaign: look at one of its candidates or materials")
    n_below = _n_below(results, record)
    if n_below > _LINEAGE_LIMIT:
        raise HTTPException(
            404,
            f"{record.id} has {n_below:,} candidates: too many to draw; look at one of them, or "
            f"use 'logan-campaign lineage'",
        )
    graph = results.database.lineage(record.id)
    return page(
        request,
        "lineage.html",
        record=record,
        drawing=draw_lineage(graph),
        nodes=graph.nodes.values(),
        named_kind=named_kind,
    )


def _n_below(results: Results, record: Any) -> int:
    """Return the number of candidates in a lineage."""
    if isinstance(record, CandidateRecord):
        return results.candidates(match=record.id).count()
    if isinstance(record, MaterialRecord):
        return len(record.candidate_ids)
    if isinstance(record, ModelRecord):
        return results.candidates(model=record.id).count()
    return results.candidates(training_set=record.id).count()


@router.get("/models/{identity}", response_class=HTMLResponse)
def model(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show a model: its training and its candidates."""
    record = results.find(identity)
    if not isinstance(record, ModelRecord):
        raise InputError(f"{record.id} is no model")
    query = results.candidates(model=record.id)
    found = query.where(state=["new", "rediscovered"]).without_structures()
    return page(
        request,
        "model.html",
        record=record,
        curves=charts.training_chart([record], []),
        n_candidates=query.count(),
        found=found.page(0, _LISTED),
    )


@router.get("/campaigns/{identity}/materials", response_class=HTMLResponse)
def campaign_materials(
    request: Request,
    results: Opened,
    identity: Identity,
    params: Annotated[MaterialParams, Query()],
) -> str:
    """List the distinct structures that a campaign found."""
    record = _campaign(results, identity)
    return _materials(request, results, params, record)


@router.get("/materials", response_class=HTMLResponse)
def materials(request: Request, results: Opened, params: Annotated[MaterialParams, Query()]) -> str:
    """List the distinct structures of all campaigns."""
    return _materials(request, results, params, None)


def _materials(
    request: Request, results: Results, params: Params, record: CampaignRecord | None
) -> str:
    filters, elements = _with_elements(results, params, record)
    query = results.materials(**filters)
    found = query.page(params.page - 1, PAGE_SIZE)
    return _listing(
        request,
        "materials.html",
        record,
        params,
        n_found=query.count(),
        elements=elements,
        materials=found,
        names=material_names(found),
    )


@router.get("/materials/{identity}", response_class=HTMLResponse)
def material(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show a distinct structure and its candidates."""
    record = results.find(identity)
    if not isinstance(record, MaterialRecord):
        raise InputError(f"{record.id} is no material")
    best = results.candidate(record.best_candidate_id)
    structure = best.structure or best.raw_structure
    members = results.candidates(material=record.id).without_structures().sorted_by("energy")
    return page(
        request,
        "material.html",
        record=record,
        best=best,
        views={"structure": view3d(structure)} if structure is not None else {},
        members=members.page(0, _LISTED),
    )


@router.get("/sets/{identity}", response_class=HTMLResponse)
def training_set(request: Request, results: Opened, identity: Identity, _: Nothing) -> str:
    """Show a training set or known set."""
    record = results.find(identity)
    if not isinstance(record, TrainingSetRecord):
        raise InputError(f"{record.id} is no set of structures")
    return page(request, "set.html", record=record)


@router.get("/campaigns/{identity}/report", response_class=HTMLResponse)
def report(request: Request, results: Opened, identity: Identity, _: Nothing) -> HTMLResponse:
    """Show the report of a campaign, as written by ``logan-campaign report``."""
    record = _campaign(results, identity)
    if record.n_candidates > REPORT_LIMIT:
        raise HTTPException(
            404,
            f"{record.name} has {record.n_candidates:,} candidates: its report takes a while; "
            "write it with 'logan-campaign report'",
        )
    html = render(gather(Campaign(results.stores, record, owns_stores=False)))
    return HTMLResponse(html, headers={"Content-Security-Policy": _REPORT_POLICY})


@router.get("/static/{version}/{name}")
def static(version: str, name: str) -> Response:
    """Send a script or style; its address changes when it does."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404, "no such file")
    return Response(
        static_file(name),
        media_type=MEDIA_TYPES[name],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
