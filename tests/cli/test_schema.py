"""The JSON Schema that editors use takes what the spec's models take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.spec_yaml import parse_yaml
from logan_campaign.cli.app import app, load_commands

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = CampaignSpec.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def json_of(path: Path) -> Any:
    return json.loads(json.dumps(parse_yaml(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in validator.iter_errors(json_of(path))] == []


@pytest.mark.parametrize(
    "wrong",
    [{"select": {"strategy": "graph", "n_piks": 3}}, {"seed": "one"}, {"models": {"count": -1}}],
    ids=["unknown key", "wrong type", "out of range"],
)
def test_mistakes_are_seen(
    wrong: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert not validator.is_valid({**json_of(EXAMPLES[0]), **wrong})


def test_settings_of_both_methods_are_valid(validator: jsonschema.Draft202012Validator) -> None:
    spec = {**json_of(EXAMPLES[0]), "models": {"hyperparameters": {"r_cut": 5.0}}}
    assert validator.is_valid(spec)


def test_init_names_the_schema_that_lies_beside_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_commands()
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    assert run.invoke(app, ["init", "without.yaml", "--formula", "C2H6O"]).exit_code == 0
    assert "yaml-language-server" not in Path("without.yaml").read_text(encoding="utf-8")

    printed = run.invoke(app, ["schema"])
    Path("logan-campaign.schema.json").write_text(printed.stdout, encoding="utf-8")
    assert run.invoke(app, ["init", "with.yaml", "--formula", "C2H6O"]).exit_code == 0
    text = Path("with.yaml").read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    jsonschema.validate(yaml.safe_load(text), json.loads(Path(named).read_text(encoding="utf-8")))
