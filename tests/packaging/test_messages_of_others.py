"""What other projects say in words, and this one goes by: a test per message.

Where a library tells a condition by its message alone, these fail when a new version words it
otherwise.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from ase.build import molecule

from logan_campaign.relaxation.engine import classify
from logan_campaign.sources import materials_project


def sources_of(package: str) -> str:
    """Return the Python sources of an installed package, one after another."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    folders = [Path(place) for place in spec.submodule_search_locations or []]
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    assert files
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_jobflow_remote_says_that_a_batch_was_killed() -> None:
    pytest.importorskip("jobflow_remote")
    from logan_campaign.flows.remote.runner import _BATCH_KILLED

    assert _BATCH_KILLED in sources_of("jobflow_remote")


def test_jobflow_remote_says_that_a_job_left_no_output() -> None:
    pytest.importorskip("jobflow_remote")
    said = "f\"file {remote_file_path} for job {job_dict['uuid']} does not exist\""
    assert said in sources_of("jobflow_remote")


def test_the_materials_project_client_tells_the_status_code() -> None:
    told = re.findall(r'f"([^"]*status code \{[^"]*)"', sources_of("mp_api"))
    assert told
    assert all(materials_project._STATUS.search(re.sub(r"\{[^}]*\}", "404", text)) for text in told)


def test_the_optimade_client_tells_what_it_gives_up_on() -> None:
    assert "infinite loop" in sources_of("optimade")
    assert "too many {status_code} error responses" in sources_of("urllib3")


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("gpaw", "KohnShamConvergenceError"),
        ("gpaw", "GridBoundsError"),
        ("ase", "SCFError"),
        ("ase", "CalculationFailed"),
    ],
)
def test_calculators_raise_exceptions_of_these_names(package: str, name: str) -> None:
    assert re.search(rf"^class {name}\(", sources_of(package), re.MULTILINE)


def test_gpaw_tells_that_symmetry_is_broken() -> None:
    assert "Broken symmetry" in sources_of("gpaw")


def test_tblite_tells_that_its_scf_cycle_did_not_converge() -> None:
    calculators = pytest.importorskip("tblite.ase")
    atoms = molecule("CH3OH")
    atoms.calc = calculators.TBLite(method="GFN2-xTB", max_iterations=1, verbosity=0)
    with pytest.raises(Exception, match=r".") as caught:
        atoms.get_potential_energy()
    assert classify(caught.value) == "scf"
