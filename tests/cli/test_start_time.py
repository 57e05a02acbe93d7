"""What a command must not import: importing is most of the time that a short command takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jobflow import JobStore
from stores.made_up import MadeUpCampaign

from logan_campaign import open_store
from logan_campaign.stores.builders import CampaignBuilder

#: What takes a tenth of a second or more to import, itself or with what it brings.
HEAVY = {
    *("ase", "boto3", "gpaw", "jax", "jobflow", "maggma", "matplotlib", "mongomock", "monty"),
    *("networkx", "numpy", "pandas", "paramiko", "plotly", "pymatgen", "pymongo", "rdkit"),
    *("scipy", "sklearn", "spglib"),
}

PROGRAM = """
import sys
from logan_campaign.cli import main
sys.argv[0] = "logan-campaign"
try:
    main()
finally:
    print("imported", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    with open_store(folder, create=True) as stores:
        MadeUpCampaign().store(JobStore(stores.docs, additional_stores={"data": stores.data}))
        CampaignBuilder.from_stores(stores).build()
    return folder


def run(*arguments: str) -> tuple[str, set[str]]:
    """Run the program; return what it printed and the packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    last = done.stderr.splitlines()[-1].split()
    assert last[0] == "imported"
    return done.stdout, set(last[1:])


@pytest.mark.parametrize(
    ("option", "expected", "more"),
    [
        ("--version", "logan-campaign ", {"pydantic", "rich"}),
        ("--help", "Discovery campaigns", {"pydantic"}),
    ],
)
def test_saying_what_there_is_imports_nothing_heavy(
    option: str, expected: str, more: set[str]
) -> None:
    said, imported = run(option)
    assert expected in said
    assert imported & (HEAVY | more) == set()


def test_listing_results_imports_nothing_heavy(campaign: Path) -> None:
    said, imported = run("results", str(campaign))
    assert "6 candidates" in said
    assert imported & HEAVY == set()
    # what it does import shows that the list is of top-level names
    assert {"pydantic", "rich", "sqlite3", "typer"} <= imported


def test_a_filter_imports_what_it_needs(campaign: Path) -> None:
    said, imported = run("results", str(campaign), "--smiles", "[H]O[H]")
    assert "cand-a3" in said
    assert "rdkit" in imported
    assert imported & {"jax", "jobflow", "maggma"} == set()
