"""What notebooks show of campaigns, queries and candidates: HTML that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

from logan_campaign.core.documents import Geometry
from logan_campaign.geometry.formulas import readable_formula
from logan_campaign.stores.records import CandidateRecord

#: Rows of a table.
ROWS = 20


class View:
    """A structure in 3D, which notebooks show; ``str`` gives it as a page of its own.

    Args:
        structure: molecule or crystal.
    """

    def __init__(self, structure: Geometry) -> None:
        from logan_campaign.results.report.page import asset, embedded_json
        from logan_campaign.results.report.view3d import view3d

        names = ("3Dmol-min.js", "view3d.js")
        scripts = Markup("").join(Markup("<script>{}</script>").format(asset(x)) for x in names)
        self._page = Markup(
            "<!doctype html><meta charset='utf-8'><title>structure</title>"
            "<style>body {{ margin: 0 }} #view {{ position: relative; height: 100vh }}</style>"
            "<script type='application/json' id='structure'>{}</script>"
            "<div id='view' class='view3d' data-structure='structure'></div>{}"
        ).format(embedded_json(view3d(structure)), scripts)

    def __str__(self) -> str:
        return str(self._page)

    def _repr_html_(self) -> str:
        # a document of its own: its scripts and styles do not meet those of the notebook
        return (
            f'<iframe srcdoc="{escape(str(self))}" width="420" height="340" '
            'style="border: 0" sandbox="allow-scripts"></iframe>'
        )


def facts_html(title: str, facts: Mapping[str, str], picture: str = "") -> Markup:
    """Return names and texts as a table below a title, beside a picture (SVG)."""
    rows = Markup("").join(
        Markup("<tr><td>{}</td><td style='text-align: left'>{}</td></tr>").format(name, text)
        for name, text in facts.items()
        if text
    )
    drawn = Markup(picture[picture.find("<svg") :]) if picture else Markup("")
    return Markup("<div><strong>{}</strong><br>{}<table>{}</table></div>").format(
        title, drawn, rows
    )


def candidate_facts(record: CandidateRecord) -> dict[str, str]:
    """Return what a candidate is, as names and texts; its structure is described if it was read."""
    from logan_campaign.results.description import facts

    structure = record.structure or record.raw_structure
    energy = "" if record.energy_ev is None else f"{record.energy_ev:.4f} eV at {record.level}"
    if record.energy_above_min_ev is not None:
        energy += f", {record.energy_above_min_ev:.3f} eV above the lowest"
    found = {
        "state": record.state,
        "formula": readable_formula(record.formula, record.kind),
        "SMILES": record.smiles or "",
        "equals": record.match_label or record.match or "",
        "reason": record.reason,
        "energy": energy,
    }
    return found | (facts(structure) if structure is not None else {})


def candidates_html(records: Iterable[CandidateRecord], n_all: int) -> Markup:
    """Return candidates as a table, and how many there are."""
    head = ("candidate", "state", "formula", "structure", "level", "eV", "above min (eV)", "equals")
    rows = [
        (
            record.id,
            record.state,
            readable_formula(record.formula, record.kind),
            record.smiles or record.spacegroup or "",
            record.level or "",
            "" if record.energy_ev is None else f"{record.energy_ev:.3f}",
            "" if record.energy_above_min_ev is None else f"{record.energy_above_min_ev:.3f}",
            record.match_label or record.match or record.reason,
        )
        for record in records
    ]
    cells = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(map(Markup("<td>{}</td>").format, row)))
        for row in rows
    )
    names = Markup("").join(map(Markup("<th>{}</th>").format, head))
    part = f"{len(rows)} of {n_all}" if len(rows) < n_all else str(n_all)
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{} candidates").format(
        names, cells, part
    )
