"""What an installed package of somebody else's brings works in a spec as ours does."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyEncoder

from logan_campaign.campaign.allocation import Progress, choose
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core import trust
from logan_campaign.core.errors import InputError
from logan_campaign.flows import CampaignMaker
from logan_campaign.relaxation.levels import LEVELS, parse_level
from logan_campaign.results.formats import EXPORTS
from logan_campaign.selection import STRATEGIES
from logan_campaign.sources import SOURCES

PACKAGE = Path(__file__).parents[1] / "support" / "plugin_package"

SPEC = """\
name: copper
target:
  kind: crystal
  formula: Cu4
  cell: [[2.9, 0.0, 0.0], [0.0, 3.7, 0.0], [0.0, 0.0, 4.6]] # no cell of the training set's
training: {source: {type: copper, count: 2}}
models: {count: 1, hyperparameters: {n_max: 1, n_neighbour: 12, r_cut: 4.0, descent_steps: 20}}
generate: {per_model: 8}
select: {strategy: every-nth, n_picks: 2, stride: 3}
screen: {min_distance_factor: 0.5}
relax:
  reference: true
  levels: [{name: emt, calculator: emt, asap_cutoff: true, fmax: 0.1, max_steps: 100}]
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package with pip into a folder of its own; return the folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    copy = shutil.copytree(PACKAGE, source / "package")  # building leaves files beside the source
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--target", str(target), str(copy)]
    subprocess.run(pip, check=True, capture_output=True)
    return target


@pytest.fixture
def plugin(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find the package."""
    monkeypatch.syspath_prepend(str(installed))


def load(tmp_path: Path, *overrides: str) -> CampaignSpec:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return CampaignSpec.from_file(path, overrides)


@pytest.mark.usefixtures("plugin")
def test_a_campaign_of_a_plugin_s_source_strategy_and_level_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maker = CampaignMaker(spec=load(tmp_path), base=str(tmp_path))
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(maker.make(), store=store, create_folders=True, ensure_success=True, log=False)

    def outputs(kind: str) -> list[dict[str, Any]]:
        return [doc["output"] for doc in store.query({"output.doc_type": kind})]

    (training,) = outputs("training_set")
    assert (training["name"], training["n_structures"]) == ("2 copper crystals", 2)
    (selection,) = outputs("selection")
    assert (selection["strategy"], selection["settings"]["stride"]) == ("every-nth", 3)
    (reference,) = outputs("reference")
    assert [(r["level"], r["state"]) for r in reference["references"]] == [("emt", "converged")] * 2
    relaxations = outputs("relaxation")
    assert relaxations, outputs("screening")
    for relaxation in relaxations:
        assert (relaxation["calculator"], relaxation["settings"]["asap_cutoff"]) == ("emt", True)
        assert relaxation["energy_ev"] is not None


@pytest.mark.usefixtures("plugin")
def test_a_plugin_s_policy_chooses_the_targets(tmp_path: Path) -> None:
    spec = load(tmp_path, "rounds={policy: last-first}")
    assert choose(Progress(["Au", "Cu", "Pd"]), spec.policy, 2) == [2, 1]
    eager = load(tmp_path, "rounds={policy: {policy: last-first, from_place: 3}}")
    assert choose(Progress(["Au", "Cu", "Pd"]), eager.policy) == [0]


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("relax.levels.0.scale=3", "relax.levels.0.scale: must be less than .* 2"),
        ("relax.levels.0.asap_cutoff=1", "relax.levels.0.asap_cutoff: true or false is needed"),
        ("relax.levels.0.cutof=1", "relax.levels.0.cutof: there is no such key; did you mean"),
        ("training.source.count=0", "training.source.count: .* greater than or equal to 1"),
        ("select.stride='two'", "select.stride: a whole number is needed"),
        ("relax.levels.0.calculator=emtt", "levels.0.calculator: no level .* 'emtt': .* or emt"),
        ("relax.levels.0.calculator=broken", "'broken' of made-up-lab cannot be imported"),
    ],
)
def test_a_mistake_in_a_plugin_s_settings_is_told_in_one_line(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, override)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("plugin")
def test_what_a_plugin_checks_is_checked_before_anything_runs(tmp_path: Path) -> None:
    spec = load(tmp_path, "target.formula=Si4")
    with pytest.raises(InputError, match="level 'emt': EMT has no parameters for Si"):
        spec.check(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_the_schema_describes_the_settings_of_plugins(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        schema = CampaignSpec.model_json_schema()
    text = json.dumps(schema)
    for described in ("Cut off as ASAP does", "How many crystals", "Take one of so many"):
        assert described in text
    assert "'broken' of made-up-lab cannot be imported" in caplog.text
    for registry, name in ((LEVELS, "emt"), (SOURCES, "copper"), (STRATEGIES, "every-nth")):
        fields = registry.loaded()[name].model_fields.items()
        assert all(field.description for key, field in fields if key != registry.key)
    assert "energies" in EXPORTS.names


def test_without_the_package_its_names_are_unknown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source is called 'copper': use files or"):
        load(tmp_path)


def test_installed_classes_are_trusted_and_others_of_their_package_are_not(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {"@module": "made_up_lab.parts", "@class": "EMTLevel", "name": "emt"}
    with pytest.raises(trust.UntrustedError):
        trust.check_document(stored, [])
    monkeypatch.syspath_prepend(str(installed))
    level = parse_level({"calculator": "emt", "name": "emt"})
    assert json.loads(json.dumps(level, cls=MontyEncoder))["@class"] == "EMTLevel"
    trust.check_document(stored, [])
    with pytest.raises(trust.UntrustedError):
        trust.check_document({**stored, "@class": "bulk"}, [])
    with pytest.raises(trust.UntrustedError):
        trust.check_document({"@module": "made_up_lab.parts", "@callable": "bulk"}, [])
