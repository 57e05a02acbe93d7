"""What ``run --check`` says before anything is run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli import main
from logan_campaign.cli.check import cost, n_rounds, plan

EXAMPLES = Path(__file__).parents[2] / "examples"
PAST = {"": [10.0, 12.0, 20.0], "xtb": [0.1, 0.2, 0.4]}


def spec(*changes: str) -> CampaignSpec:
    return CampaignSpec.from_file(EXAMPLES / "c5h12o-descent.yaml", list(changes))


def test_cost_is_that_of_the_past_with_its_scatter() -> None:
    found = cost(spec(), PAST)
    assert found is not None
    low, middle, high = found
    assert low < middle < high
    # 4 pools and 24 relaxations of 18 atoms at the medians, and some seconds for reading
    assert 4 * 12 + 24 * 18 * 0.2 < middle < 1.5 * (4 * 12 + 24 * 18 * 0.2)
    assert cost(spec(), {**PAST, "xtb": [0.2]})[1] == middle  # type: ignore[index]


def test_cost_grows_with_models_picks_and_rounds() -> None:
    least = cost(spec(), PAST)
    assert least is not None
    for change in ("models.count=8", "select.n_picks=48", "rounds={stop: {rounds: 3}}"):
        more = cost(spec(change), PAST)
        assert more is not None
        assert more[1] > 1.2 * least[1]
    assert n_rounds(spec("rounds={stop: {rounds: 3}}")) == 3


@pytest.mark.parametrize("known", [{}, {"": [10.0]}, {"xtb": [0.1]}])
def test_without_a_past_the_cost_is_unknown(known: dict[str, list[float]]) -> None:
    assert cost(spec(), known) is None
    told = plan(spec(), known, cores=2)
    assert "unknown" in told["costs"]
    assert ("xtb" in told["costs"]) == ("xtb" not in known)
    assert "takes" not in told


def test_what_needs_no_training_set_can_be_checked() -> None:
    told = plan(
        spec("training=null", "models={count: 2, hyperparameters: {method: random}}"), PAST, cores=1
    )
    assert told["learns from"] == "nothing"
    assert "(random)" in told["generates"]


def run_check(
    path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["logan-campaign", "run", str(path), "--check"])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_a_check_reads_everything_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, said, told = run_check(EXAMPLES / "c5h12o-descent.yaml", monkeypatch, capsys)
    assert not code
    for text in ("C5H12O", "1200 structures", "at most 24 by graph", "xtb (gfn2-xtb)", "unknown"):
        assert text in said
    assert told.startswith("reading ")
    assert list(tmp_path.iterdir()) == []


def test_a_check_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (EXAMPLES / "c5h12o-descent.yaml").read_text()
    path = tmp_path / "spec.yaml"
    path.write_text(
        text.replace("{type: builtin, name: alcohols-and-ethers, formulas: [C4H10O, C6H14O]}",
                     "{type: files, path: absent.xyz}")
    )  # fmt: skip
    code, _, told = run_check(path, monkeypatch, capsys)
    assert code == 2
    assert "absent.xyz" in told.splitlines()[-1]
