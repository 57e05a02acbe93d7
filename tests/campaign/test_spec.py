"""The spec: every mistake is named with its line, key, value and what is accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.spec_yaml import parse_yaml
from logan_campaign.cli.starting import starting_spec, volumes_for
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.formulas import hill_formula

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))

MINIMAL = """\
name: small
target:
  kind: molecule
  formula: C2H6O
training:
  source: {type: smiles, smiles: [CCC]}
select:
  strategy: kmeans
  n_picks: 4
relax:
  levels:
    - {name: xtb, calculator: gfn2-xtb}
"""


def load(tmp_path: Path, text: str, *overrides: str) -> CampaignSpec:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    return CampaignSpec.from_file(path, overrides)


def error_of(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text, *overrides)
    return str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_is_valid(path: Path) -> None:
    assert CampaignSpec.from_file(path).name == path.stem


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        *[("molecule", name) for name in ("C2H6O", "C5H12O", "C6H14O", "CH4O", "C7H16O")],
        *[("molecule", name) for name in ("C3H9N", "C5H10O", "CH4", "H2O", "C6H6", "C2H5NO2")],
        *[("crystal", name) for name in ("Si2O4", "Si4O8", "NaCl", "MgO", "SrTiO3", "Si", "Fe")],
    ],
)
def test_what_init_writes_is_valid_and_does_not_train_on_its_target(
    tmp_path: Path, kind: str, formula: str
) -> None:
    text, _ = starting_spec(kind, formula, "mine", "mine.yaml")
    spec = load(tmp_path, text)
    assert spec.target.formula == formula
    spec.target.resolve(tmp_path)  # box or volume hold the atoms
    source = spec.training.source
    if source.type == "optimade":
        assert "chemical_formula_reduced!=" in source.filter
    else:
        assert spec.hill_formula not in map(hill_formula, source.formulas)
        species = source.preview(tmp_path).species
        assert species is not None
        assert set(spec.target.symbols) <= species


@pytest.mark.parametrize("formula", ["C10H10Fe", "CH4S"])
def test_what_init_cannot_choose_is_to_be_filled_in(tmp_path: Path, formula: str) -> None:
    text, _ = starting_spec("molecule", formula, "mine", "mine.yaml")
    line = 1 + next(n for n, each in enumerate(text.splitlines()) if "fill in:" in each)
    said = error_of(tmp_path, text)
    assert said.startswith(f"/spec.yaml:{line}: training.source.path: must be filled in: a file")
    load(tmp_path, text, "training.source={type: smiles, smiles: [CC]}")


@pytest.mark.parametrize(
    ("formula", "lowest", "highest"),
    [("SiO2", 7.8, 14.3), ("NaCl", 22.4, 22.4), ("SrTiO3", 11.9, 11.9), ("Fe", 11.8, 11.8)],
)
def test_volumes_that_init_writes_hold_what_is_measured(
    formula: str, lowest: float, highest: float
) -> None:
    low, high = volumes_for(formula)
    assert low < lowest <= highest < high


def test_members_walk_through_all_combinations(tmp_path: Path) -> None:
    text = MINIMAL + "models: {count: 6, vary: {r_cut: [4.0, 5.0], n_max: [3, 4]}}\n"
    members = load(tmp_path, text).models.members()
    settings = [(m.r_cut, m.n_max) for m in members]
    assert settings[:4] == [(4.0, 3), (4.0, 4), (5.0, 3), (5.0, 4)]
    assert settings[4:] == settings[:2]


def test_id_follows_from_content_and_not_from_the_text(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL)
    reordered = yaml.safe_dump(yaml.safe_load(MINIMAL), sort_keys=True)
    assert load(tmp_path, "# a comment\n" + reordered).id == spec.id
    assert load(tmp_path, MINIMAL, "seed=1").id != spec.id


def test_overrides_reach_nested_keys_and_list_items(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL, "models.count=7", "relax.levels.0.fmax=0.2")
    assert spec.models.count == 7
    assert spec.relax.levels[0].fmax == 0.2


def test_overridden_paths_are_meant_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = load(tmp_path, MINIMAL, "training.source={type: files, path: here.xyz}")
    assert spec.training.source.path == str(tmp_path / "here.xyz")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("name: small", "nmae: small"), ["/spec.yaml:1", "nmae", "did you mean 'name'"]),
        (("n_picks: 4", "n_piks: 4"), ["/spec.yaml:9", "n_piks", "did you mean 'n_picks'"]),
        (
            ("n_picks: 4", "n_picks: none"),
            ["/spec.yaml:9", "select.n_picks", "whole number", "none"],
        ),
        (("C2H6O", "Xx2"), ["/spec.yaml:4", "target.formula", "Xx2", "formula"]),
        (("C2H6O", "C1.5H6"), ["/spec.yaml:4", "target.formula", "C1.5H6"]),
        (("kind: molecule", "kind: crystal"), ["target", "'cell'"]),
        (("gfn2-xtb", "gfn7"), ["/spec.yaml:12", "gfn7", "gpaw"]),
        (("name: small", "name: a/b"), ["/spec.yaml:1", "name", "a/b"]),
        (("strategy: kmeans", "strategy: best"), ["/spec.yaml:8", "select", "best", "framework"]),
        (
            ("relax:", "  pre_relax: {n: 5}\nrelax:"),
            ["/spec.yaml:10", "select.pre_relax: there is no such key"],
        ),
        (("name: small", "name: small\nname: twice"), ["/spec.yaml:2", "'name' is given twice"]),
        (("name: small", "name: [small"), ["/spec.yaml:", "not valid YAML"]),
        (("name: small", "? [name]\n: small"), ["/spec.yaml:1", "not valid YAML"]),
        (("[CCC]", "&a [*a]"), ["/spec.yaml", "alias in itself"]),
        # the tag 'smiles' of the source is also one of its keys
        (("[CCC]}", "[CCC], foo: 1}"), ["/spec.yaml:6", ": training.source.foo: there is no"]),
        (("gfn2-xtb}", "gfn2-xtb, fmax: .inf}"), ["/spec.yaml:12", "fmax", "finite", "inf"]),
        (("gfn2-xtb}", "gpaw, kpts: 5}"), ["/spec.yaml:12: relax.levels.0.kpts: ", "got 5"]),
        (("gfn2-xtb}", "gpaw, kpts: {densty: 3}}"), ["/spec.yaml:12", "did you mean 'density'"]),
    ],
)
def test_a_mistake_is_named_with_line_key_and_value(
    tmp_path: Path, change: tuple[str, str], expected: list[str]
) -> None:
    message = error_of(tmp_path, MINIMAL.replace(*change))
    for part in expected:
        assert part in message


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    text = MINIMAL.replace("select:\n  strategy: kmeans\n  n_picks: 4\n", "")
    assert "select: this key is required" in error_of(tmp_path, text)


@pytest.mark.parametrize("kpts", ["[0, 1, 1]", "5", "[1, 1, 1, 1]"])
def test_a_mistake_in_one_of_several_types_is_one_line(tmp_path: Path, kpts: str) -> None:
    text = MINIMAL.replace("gfn2-xtb}", f"gpaw, kpts: {kpts}}}")
    assert len(error_of(tmp_path, text).splitlines()) == 1


def test_merged_keys_may_be_overruled(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: xtb,", "<<: {fmax: 0.5, max_steps: 7}, fmax: 0.1, name: xtb,")
    level = load(tmp_path, text).relax.levels[0]
    assert (level.fmax, level.max_steps) == (0.1, 7)


def test_a_value_to_vary_that_is_out_of_range_is_named(tmp_path: Path) -> None:
    message = error_of(tmp_path, MINIMAL + "models: {vary: {r_cut: [4.0, -1.0]}}\n")
    assert "/spec.yaml:13" in message
    assert "vary: r_cut: " in message
    assert "(got -1.0)" in message


def test_a_section_without_content_can_be_filled_by_an_override(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL + "models:\n", "models.count=3").models.count == 3


def test_an_unknown_hyperparameter_to_vary_lists_the_accepted_ones(tmp_path: Path) -> None:
    message = error_of(tmp_path, MINIMAL + "models: {vary: {rcut: [4.0]}}\n")
    assert "'rcut'" in message
    assert "r_cut" in message


def test_levels_of_one_name_are_refused(tmp_path: Path) -> None:
    text = MINIMAL + "    - {name: xtb, calculator: gpaw, mode: lcao}\n"
    assert "every level needs a unique name" in error_of(tmp_path, text)


@pytest.mark.parametrize(
    "assignment",
    [
        "models.count",
        "=3",
        "relax.levels.9.fmax=1",
        "relax.levels.².fmax=1",
        "models={count: 1, count: 2}",
    ],
)
def test_an_override_that_cannot_be_applied_is_refused(tmp_path: Path, assignment: str) -> None:
    assert "--set" in error_of(tmp_path, MINIMAL, assignment)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^there is no file .*nowhere\.yaml$"):
        CampaignSpec.from_file(tmp_path / "nowhere.yaml")


def test_yaml_that_would_run_code_is_refused(tmp_path: Path) -> None:
    message = error_of(tmp_path, "name: !!python/object/apply:os.getcwd []\n")
    assert "not valid YAML" in message


def test_a_box_that_cannot_hold_the_atoms_is_refused(tmp_path: Path) -> None:
    spec = load(tmp_path, MINIMAL, "target.box=[1.0, 1.0, 1.0]")
    with pytest.raises(InputError, match="target"):
        spec.check(tmp_path)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("match.mode=fast", "'exact' or 'prefilter'"),
        ("match.conformer_rmsd=0", "greater than 0"),
        ("match.index=mongodb://me:secret@host/known", "password does not belong in a spec"),
    ],
)
def test_a_wrong_setting_of_matching_is_one_line(
    tmp_path: Path, assignment: str, words: str
) -> None:
    message = error_of(tmp_path, MINIMAL, assignment)
    assert words in message
    assert "secret" not in message
    assert "\n" not in message


def test_an_index_may_take_its_password_from_the_environment(tmp_path: Path) -> None:
    location = "mongodb://me:$PASSWORD@host/known"
    assert load(tmp_path, MINIMAL, f"match.index={location}").match.index == location


CRYSTAL_SPEC = """\
name: open
target: {kind: crystal, formula: Si2O4, CELL}
training: {source: {type: builtin, name: sio2-prototypes}}
select: {strategy: kmeans, n_picks: 4}
relax:
  levels:
    - {name: pw, calculator: gpaw, mode: pw, relax_cell: true, kpts: {density: 2.0}}
"""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("cell: anything", ["'drawn'", "'learned'", "anything"]),
        ("cell: fixed", ["cell_from"]),
        ("cell: drawn, cell_from: a.cif", ["either"]),
        ("cell_from: a.cif, volume_per_atom: [9, 20]", ["drawn or learned"]),
        ("cell: drawn, volume_per_atom: [20, 9]", ["lowest first"]),
        ("cell: drawn, symmetry: {groups: [231]}", ["231"]),
        ("cell: drawn, symmetry: {groups: [P9]}", ["P9", "P4_12_12"]),
        ("cell: drawn, symmetry: {groups: []}", ["at least one"]),
        ("cell: drawn, symmetry: {group: [92]}", ["groups"]),
        ("cell: drawn, symmetry: {groups: [92], max_assignments: 0}", ["max_assignments"]),
    ],
)
def test_what_is_wrong_with_an_open_cell_or_symmetry_is_named(
    tmp_path: Path, said: str, expected: list[str]
) -> None:
    message = error_of(tmp_path, CRYSTAL_SPEC.replace("CELL", said))
    assert all(text in message for text in expected), message


def test_a_cell_that_is_not_given_has_to_be_relaxed_at_the_last_level(tmp_path: Path) -> None:
    text = CRYSTAL_SPEC.replace("CELL", "cell: learned")
    assert load(tmp_path, text).target.lattice == "learned"
    with pytest.raises(InputError, match=r"pw: the target's cell is learned.*relax_cell"):
        load(tmp_path, text, "relax.levels.0.relax_cell=false").check(tmp_path)


@pytest.mark.parametrize("mesh", ["[2, 2, 2]", "[1, 1, 1]"])
def test_where_cells_differ_k_points_are_given_by_density(tmp_path: Path, mesh: str) -> None:
    text = CRYSTAL_SPEC.replace("CELL", "cell: drawn, volume_per_atom: [9, 20]")
    load(tmp_path, text).check(tmp_path)
    with pytest.raises(InputError, match=r"pw: the target's cell is drawn.*density"):
        load(tmp_path, text, f"relax.levels.0.kpts={mesh}").check(tmp_path)


def test_space_groups_that_cannot_hold_the_atoms_are_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    text = CRYSTAL_SPEC.replace(
        "CELL", "cell: drawn, volume_per_atom: [9, 20], symmetry: {groups: [Ia-3d]}"
    )
    with pytest.raises(InputError, match=r"Ia-3d.*Wyckoff"):
        load(tmp_path, text).target.resolve(tmp_path)


def test_what_a_spec_does_not_say_of_cells_and_symmetry_changes_no_id(tmp_path: Path) -> None:
    said = CampaignSpec.from_file(next(p for p in EXAMPLES if p.stem == "sio2")).identity["target"]
    assert sorted(said) == ["box", "cell", "cell_from", "formula", "kind"]
    text = CRYSTAL_SPEC.replace("CELL", "cell_from: a.cif")
    fixed = CRYSTAL_SPEC.replace("CELL", "cell: fixed, cell_from: a.cif")
    assert load(tmp_path, text).id == load(tmp_path, fixed).id


def test_exchange_is_refused_for_crystals_before_anything_runs(tmp_path: Path) -> None:
    text = CRYSTAL_SPEC.replace("CELL", "cell: learned, volume_per_atom: [9, 20]")
    spec = load(tmp_path, text, "models.hyperparameters={method: descent, exchange: 0.5}")
    with pytest.raises(InputError, match=r"models.hyperparameters: 'exchange' is for molecules"):
        spec.check(tmp_path)


def test_a_spec_without_exchange_has_the_id_it_had_before_there_was_any(tmp_path: Path) -> None:
    def said(*overrides: str) -> set[str]:
        spec = CampaignSpec.from_file(next(p for p in EXAMPLES if p.stem == "sio2"), overrides)
        return {k for k in spec.identity["models"]["hyperparameters"] if k.startswith("exchange")}

    unused = ("models.hyperparameters={method: descent}", "models.vary={}")
    assert said(*unused) == set()
    assert "exchange_steps" in said(*unused[:1], "models.vary={exchange: [0.0, 0.5]}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+7", 7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("~", None),
        *(
            (word, word)
            for word in ("NO", "yes", "on", "off", "Y", "6:00", "1_000", "0b1", "12:30:45")
        ),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
    ],
)
def test_plain_words_are_read_by_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}")["key"]
    assert (found, type(found)) == (value, type(value))


@given(st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back_from_yaml(whole: int, real: float) -> None:
    assert parse_yaml(f"[{whole}, {real!r}]") == [whole, real]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("generate.per_model", "true", "generate.per_model: a whole number is needed (got True)"),
        ("generate.per_model", "yes", "a whole number is needed (got 'yes')"),
        ("models.count", "'3'", "a whole number is needed (got '3')"),
        ("relax.levels.0.fmax", "true", "a number is needed (got True)"),
        ("target.box", "[6:0, 5.0, 5.0]", "target.box: a number is needed"),
        ("relax.levels.0.isolate", "1", "true or false is needed"),
        ("models.hyperparameters", "{n_max: true}", "a whole number is needed"),
    ],
)
def test_a_value_of_another_kind_is_refused_wherever_it_stands(
    tmp_path: Path, key: str, value: str, message: str
) -> None:
    assert message in error_of(tmp_path, MINIMAL, f"{key}={value}")


def test_aliases_that_grow_too_large_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "aliases grow too large" in error_of(tmp_path, "\n".join(lines) + "\n" + MINIMAL)


def test_descriptors_of_selection_and_models_have_the_same_bounds(tmp_path: Path) -> None:
    for value in (7, 12):
        text = MINIMAL.replace("n_picks: 4", f"n_picks: 4\n  descriptor: {{n_max: {value}}}")
        assert "select.descriptor.n_max" in error_of(tmp_path, text)


@pytest.mark.parametrize(
    "formula", ["NH4+", "Na+", "C2H5O-", "SO4 2-", "Fe3+", "CuSO4.5H2O", "A*B"]
)
def test_formulas_with_charges_and_more_are_refused(tmp_path: Path, formula: str) -> None:
    assert "not a chemical formula" in error_of(tmp_path, MINIMAL.replace("C2H6O", f"'{formula}'"))


def test_a_formula_of_a_billion_atoms_is_refused_at_once(tmp_path: Path) -> None:
    assert "more than 10000 atoms" in error_of(tmp_path, MINIMAL.replace("C2H6O", "C999999999H2"))


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("NO2", "an odd number of electrons"),
        ("C5H13O", "an odd number of electrons"),
        ("Cu12", "holds Cu, whose valences are not known"),
        ("He2", "holds He"),
        ("CH6", "too few valences to join all atoms"),
    ],
)
def test_a_molecule_that_nothing_could_be_recognised_as_is_refused(
    formula: str, why: str, tmp_path: Path
) -> None:
    spec = load(tmp_path, MINIMAL, f"target.formula={formula}")
    with pytest.raises(InputError, match=why):
        spec.check(tmp_path)


@pytest.mark.parametrize(
    "change",
    ["models.count=0", "models.count=[1]", "select.n_picks=2.5", "name=[a]", "known={}", "seed=-1",
     "relax.levels=7", "target=7", "generate.per_model=many", "match=3",
     "models.vary={r_cut: [-1.0]}"],
)  # fmt: skip
def test_mistakes_are_told_in_words_of_this_program(change: str) -> None:
    """No word of the library that checks the values."""
    spec = Path(__file__).parents[2] / "examples" / "c5h12o-descent.yaml"
    with pytest.raises(InputError) as told:
        CampaignSpec.from_file(spec, [change])
    said = str(told.value)
    assert change.split("=")[0].split(".")[0] in said
    assert not re.search(r"Input|Extra|Field required|Value error|valid (int|dict|str|list)", said)
