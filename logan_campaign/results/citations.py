"""References for the methods, programs and data of a campaign (``references.bib``)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from pybtex.database import BibliographyData, Entry, parse_string
from pybtex.plugin import find_plugin
from pybtex.richtext import Text

from logan_campaign.stores.records import CampaignRecord, ModelRecord, TrainingSetRecord

#: References of data that sources name only by DOI.
_DATA = {
    "10.6084/m9.figshare.c.978904": "ramakrishnan2014qm9",
    "10.1016/j.commatsci.2017.01.017": "mehl2017aflow",
    "10.1063/1.4812323": "jain2013materials",
    "10.1039/D4DD00039K": "evans2024optimade",
}


@lru_cache(maxsize=1)
def _all() -> BibliographyData:
    path = files("logan_campaign.results") / "references.bib"
    return parse_string(path.read_text(encoding="utf-8"), "bibtex")


def method() -> Entry:
    """Return the paper of the method; its DOI is that of its data and code."""
    return _all().entries["kovacs2024logan"]


def method_title() -> str:
    """Return the title of that paper."""
    return str(Text.from_latex(method().fields["title"]))


def method_url() -> str:
    """Return the location of the data and code of the method's paper."""
    return f"https://doi.org/{method().fields['doi']}"


def references(
    record: CampaignRecord,
    models: Iterable[ModelRecord],
    sets: Iterable[TrainingSetRecord],
) -> BibliographyData:
    """Return the references of a campaign: methods, programs, data."""
    models, sets = list(models), list(sets)
    radial = {model.hyperparameters.get("radial") for model in models}
    levels = record.spec.get("relax", {}).get("levels", [])
    calculators = {level.get("calculator") for level in levels}
    methods = {model.hyperparameters.get("method", "wgan") for model in models}
    keys = ["kovacs2024logan"] + (["gulrajani2017wgan"] if "wgan" in methods or not methods else [])
    keys += ["kocer2020continuous"] if "bessel" in radial else []
    keys += ["jax2018github", "pedregosa2011scikit", "ong2013pymatgen"]
    if record.kind == "molecule":
        keys += ["rdkit", "kim2015universal"]
    if levels:
        keys.append("larsen2017ase")
    if any(str(level.get("optimizer", "")).startswith("FIRE") for level in levels):
        keys.append("bitzek2006fire")
    if any(level.get("optimizer") == "surrogate" for level in levels):
        keys.append("bartok2015gaussian")
    if "gfn2-xtb" in calculators:
        keys.append("bannwarth2019gfn2")
    if "gpaw" in calculators:
        keys.append("mortensen2024gpaw")
    if any(level.get("mode") == "lcao" for level in levels):
        keys.append("larsen2009localized")
    keys.append("rosen2024jobflow")
    if any(used.query.get("by") == "probability" for used in sets):
        keys.append("hautier2011substitutions")
    dois = [used.origin.citation.removeprefix("doi:") for used in sets if used.origin]
    keys += [_DATA[doi] for doi in dict.fromkeys(dois) if doi in _DATA]
    return BibliographyData({key: _all().entries[key] for key in keys})


def as_html(bibliography: BibliographyData) -> list[str]:
    """Return the references as HTML with links, in order."""
    style = find_plugin("pybtex.style.formatting", "unsrt")()
    return [entry.text.render_as("html") for entry in style.format_bibliography(bibliography)]
