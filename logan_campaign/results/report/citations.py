"""What a campaign's results rest on, for the reference list of a paper."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from logan_campaign.results import citation
from logan_campaign.stores.records import CampaignRecord, ModelRecord, TrainingSetRecord


class Reference(NamedTuple):
    """One entry of a bibliography; ``authors`` as BibTeX has them, joined by 'and'."""

    key: str
    authors: str
    title: str
    venue: str
    year: int
    doi: str
    volume: str = ""
    pages: str = ""

    @property
    def text(self) -> str:
        """The reference as one line, without its DOI."""
        names = self.authors.replace("{", "").replace("}", "").split(" and ")
        first = names[0].split(",")[0]
        who = f"{first} et al." if len(names) > 2 or "others" in names else " and ".join(
            name.split(",")[0] for name in names
        )  # fmt: skip
        place = ", ".join(part for part in (self.volume, self.pages) if part)
        return f"{who}, {self.title}, {self.venue} {place} ({self.year})".replace("  (", " (")

    @property
    def bibtex(self) -> str:
        """The reference as a BibTeX entry."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            "journal": self.venue,
            "year": str(self.year),
            "volume": self.volume,
            "pages": self.pages,
            "doi": self.doi,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@article{{{self.key},", *lines, "}"])


LOGAN = Reference(
    "kovacs2024logan",
    " and ".join(f"{last}, {first}" for first, last in citation.AUTHORS),
    citation.TITLE,
    citation.JOURNAL,
    citation.YEAR,
    citation.DATA_DOI,
    citation.VOLUME,
    citation.ARTICLE,
)
WGAN_GP = Reference(
    "gulrajani2017wgan",
    "Gulrajani, Ishaan and Ahmed, Faruk and Arjovsky, Martin and Dumoulin, Vincent and "
    "Courville, Aaron",
    "Improved Training of Wasserstein GANs",
    "arXiv:1704.00028",
    2017,
    "10.48550/arXiv.1704.00028",
)
BESSEL = Reference(
    "kocer2020continuous",
    "Kocer, Emir and Mason, Jeremy K. and Erturk, Hakan",
    "Continuous and optimally complete description of chemical environments using Spherical "
    "Bessel descriptors",
    "AIP Advances",
    2020,
    "10.1063/1.5111045",
    "10",
    "015021",
)
JAX = Reference(
    "jax2018github",
    "Bradbury, James and others",
    "JAX: composable transformations of Python+NumPy programs",
    "http://github.com/jax-ml/jax",
    2018,
    "",
)
ASE = Reference(
    "larsen2017ase",
    "Larsen, Ask Hjorth and others",
    "The atomic simulation environment—a Python library for working with atoms",
    "Journal of Physics: Condensed Matter",
    2017,
    "10.1088/1361-648X/aa680e",
    "29",
    "273002",
)
FIRE = Reference(
    "bitzek2006fire",
    "Bitzek, Erik and Koskinen, Pekka and Gähler, Franz and Moseler, Michael and Gumbsch, Peter",
    "Structural Relaxation Made Simple",
    "Physical Review Letters",
    2006,
    "10.1103/PhysRevLett.97.170201",
    "97",
    "170201",
)
GPAW = Reference(
    "mortensen2024gpaw",
    "Mortensen, Jens Jørgen and others",
    "GPAW: An open Python package for electronic structure calculations",
    "The Journal of Chemical Physics",
    2024,
    "10.1063/5.0182685",
    "160",
    "092503",
)
GPAW_LCAO = Reference(
    "larsen2009localized",
    "Larsen, Ask Hjorth and Vanin, Marco and Mortensen, Jens Jørgen and Thygesen, Kristian S. and "
    "Jacobsen, Karsten W.",
    "Localized atomic basis set in the projector augmented wave method",
    "Physical Review B",
    2009,
    "10.1103/PhysRevB.80.195112",
    "80",
    "195112",
)
GFN2 = Reference(
    "bannwarth2019gfn2",
    "Bannwarth, Christoph and Ehlert, Sebastian and Grimme, Stefan",
    "GFN2-xTB—An Accurate and Broadly Parametrized Self-Consistent Tight-Binding Quantum "
    "Chemical Method with Multipole Electrostatics and Density-Dependent Dispersion Contributions",
    "Journal of Chemical Theory and Computation",
    2019,
    "10.1021/acs.jctc.8b01176",
    "15",
    "1652-1671",
)
PYMATGEN = Reference(
    "ong2013pymatgen",
    "Ong, Shyue Ping and others",
    "Python Materials Genomics (pymatgen): A robust, open-source python library for materials "
    "analysis",
    "Computational Materials Science",
    2013,
    "10.1016/j.commatsci.2012.10.028",
    "68",
    "314-319",
)
SKLEARN = Reference(
    "pedregosa2011scikit",
    "Pedregosa, Fabian and others",
    "Scikit-learn: Machine Learning in Python",
    "Journal of Machine Learning Research",
    2011,
    "",
    "12",
    "2825-2830",
)
RDKIT = Reference(
    "rdkit",
    "{RDKit contributors}",
    "RDKit: Open-source cheminformatics",
    "https://www.rdkit.org",
    2006,
    "10.5281/zenodo.591637",
)
XYZ2MOL = Reference(
    "kim2015universal",
    "Kim, Yeonjoon and Kim, Woo Youn",
    "Universal Structure Conversion Method for Organic Molecules: From Atomic Connectivity to "
    "Three-Dimensional Geometry",
    "Bulletin of the Korean Chemical Society",
    2015,
    "10.1002/bkcs.10334",
    "36",
    "1769-1777",
)
JOBFLOW = Reference(
    "rosen2024jobflow",
    "Rosen, Andrew S. and others",
    "Jobflow: Computational Workflows Made Simple",
    "Journal of Open Source Software",
    2024,
    "10.21105/joss.05995",
    "9",
    "5995",
)
#: Data that sources name by their DOI alone.
DATA = {
    "10.6084/m9.figshare.c.978904": Reference(
        "ramakrishnan2014qm9",
        "Ramakrishnan, Raghunathan and Dral, Pavlo O. and Rupp, Matthias and "
        "von Lilienfeld, O. Anatole",
        "Quantum chemistry structures and properties of 134 kilo molecules",
        "Scientific Data",
        2014,
        "10.1038/sdata.2014.22",
        "1",
        "140022",
    ),
    "10.1016/j.commatsci.2017.01.017": Reference(
        "mehl2017aflow",
        "Mehl, Michael J. and others",
        "The AFLOW Library of Crystallographic Prototypes: Part 1",
        "Computational Materials Science",
        2017,
        "10.1016/j.commatsci.2017.01.017",
        "136",
        "S1-S828",
    ),
    "10.1063/1.4812323": Reference(
        "jain2013materials",
        "Jain, Anubhav and others",
        "Commentary: The Materials Project: A materials genome approach to accelerating "
        "materials innovation",
        "APL Materials",
        2013,
        "10.1063/1.4812323",
        "1",
        "011002",
    ),
    "10.1039/D4DD00039K": Reference(
        "evans2024optimade",
        "Evans, Matthew L. and others",
        "Developments and applications of the OPTIMADE API for materials discovery, design, and "
        "data exchange",
        "Digital Discovery",
        2024,
        "10.1039/D4DD00039K",
        "3",
        "1509-1533",
    ),
}


def references(
    record: CampaignRecord,
    models: Iterable[ModelRecord],
    sets: Iterable[TrainingSetRecord],
) -> list[Reference]:
    """Return what a campaign's results rest on: methods, programs, data."""
    models = list(models)
    radial = {model.hyperparameters.get("radial") for model in models}
    levels = record.spec.get("relax", {}).get("levels", [])
    calculators = {level.get("calculator") for level in levels}
    methods = {model.hyperparameters.get("method", "wgan") for model in models}
    found = [LOGAN] + ([WGAN_GP] if "wgan" in methods or not methods else [])
    found += [BESSEL] if "bessel" in radial else []
    found += [JAX, SKLEARN, PYMATGEN]
    if record.kind == "molecule":
        found += [RDKIT, XYZ2MOL]
    if levels:
        found.append(ASE)
    if any(str(level.get("optimizer", "")).startswith("FIRE") for level in levels):
        found.append(FIRE)
    if "gfn2-xtb" in calculators:
        found.append(GFN2)
    if "gpaw" in calculators:
        found.append(GPAW)
    if any(level.get("mode") == "lcao" for level in levels):
        found.append(GPAW_LCAO)
    found.append(JOBFLOW)
    for used in sets:
        doi = (used.origin.citation if used.origin else "").removeprefix("doi:")
        if doi in DATA and DATA[doi] not in found:
            found.append(DATA[doi])
    return found
