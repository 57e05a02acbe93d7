"""Verdicts on candidates before, between and after relaxations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_relaxations import made_relaxation
from pymatgen.core import Lattice, Molecule, Structure

from logan_campaign.campaign.classification import (
    KnownSet,
    between_levels,
    classify,
    reserves,
    screen_and_match,
)
from logan_campaign.core.documents import (
    Candidate,
    Geometry,
    RelaxationDoc,
    StructureEntry,
    Verdict,
)
from logan_campaign.geometry.molecules import parse_smiles
from logan_campaign.geometry.structures import formula, from_atoms, kind_of, structure_id, to_atoms
from logan_campaign.matching import MatchingSpec
from logan_campaign.selection.screening import ScreeningSpec
from logan_campaign.sources.smiles import embed

QUARTZ = Structure.from_spacegroup(
    "P3_121",
    Lattice.hexagonal(4.916, 5.405),
    ["Si", "O"],
    [[0.4697, 0, 1 / 3], [0.4133, 0.2672, 0.2144]],
)
CRISTOBALITE = Structure.from_spacegroup(
    "P4_12_12",
    Lattice.tetragonal(4.971, 6.928),
    ["Si", "O"],
    [[0.3003, 0.3003, 0], [0.2392, 0.1044, 0.1787]],
)
STISHOVITE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.1773, 2.6655), ["Si", "O"], [[0, 0, 0], [0.3062, 0.3062, 0]]
)
MATCHING = MatchingSpec()


def mol(smiles: str, seed: int = 0) -> Molecule:
    return from_atoms(embed(parse_smiles(smiles), seed=seed))


def rattled(structure: Any, width: float, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    copy = structure.copy()
    for i in range(len(copy)):
        step = rng.normal(0, width, 3)
        if isinstance(copy, Molecule):
            copy.translate_sites([i], step)
        else:
            copy.translate_sites([i], step, frac_coords=False)
    return copy


def turned(butane: Molecule, degrees: float) -> Molecule:
    """Return butane with its middle bond turned."""
    found = [i for i, site in enumerate(butane) if site.specie.symbol == "C"]
    near = [sum(butane.get_distance(i, j) < 1.7 for j in found) for i in found]
    left, right = (i for i, n in zip(found, near, strict=True) if n == 3)
    atoms = to_atoms(butane)
    axis = atoms.positions[right] - atoms.positions[left]
    sides = (atoms.positions - atoms.positions[[left, right]].mean(axis=0)) @ axis
    part = np.flatnonzero(sides > 0)
    one_side = atoms[part]
    one_side.rotate(degrees, axis, center=atoms.positions[right])
    atoms.positions[part] = one_side.positions
    return from_atoms(atoms)


def entry(structure: Geometry, label: str) -> StructureEntry:
    return StructureEntry(
        id=structure_id(structure),
        label=label,
        formula=formula(structure),
        structure=structure,
        smiles=label if kind_of(structure) == "molecule" else None,
    )


def known_set(name: str, role: Any, **structures: Geometry) -> KnownSet:
    return KnownSet(name, role, [entry(s, label) for label, s in structures.items()])


def candidates(*structures: Geometry) -> list[Candidate]:
    return [
        Candidate(
            id=f"cand-{i}",
            model_id="model-0",
            pool_id="pool-0",
            sample_index=i,
            strategy="kmeans",
            cluster=i,
            represents=1,
            structure=structure,
        )
        for i, structure in enumerate(structures)
    ]


def relaxed(
    structure: Geometry, index: int, energy: float | None = -1.0, state: str = "converged"
) -> RelaxationDoc:
    reason = "" if state == "converged" else "it went wrong"
    return made_relaxation(structure, f"cand-{index}", energy, state=state, reason=reason)


def ids(n: int) -> list[str]:
    return [f"cand-{i}" for i in range(n)]


def summary(verdicts: list[Verdict]) -> list[tuple[str, str | None]]:
    return [(verdict.state, verdict.match) for verdict in verdicts]


def screened(structures: list[Geometry], known: list[KnownSet], **matching: Any) -> list[Verdict]:
    return screen_and_match(
        candidates(*structures), known, ScreeningSpec(), MatchingSpec(**matching)
    )


class TestBeforeRelaxation:
    def test_implausible_geometry_is_rejected_with_its_reason(self) -> None:
        collided = mol("CCO")
        collided.translate_sites([0], collided.cart_coords[1] - collided.cart_coords[0] + 0.1)
        (verdict, fine) = screened([collided, mol("COC")], [])
        assert verdict.state == "rejected"
        assert verdict.reason.startswith("atoms too close")
        assert fine.state == "pending"
        assert fine.reason == ""

    def test_copies_of_the_training_set_and_of_each_other_go_out(self) -> None:
        training = known_set("set-t", "training", CCO=mol("CCO"))
        verdicts = screened([mol("CCO", 1), mol("COC"), mol("COC", 2)], [training])
        assert summary(verdicts) == [
            ("rediscovered", training.entries[0].id),
            ("pending", None),
            ("duplicate", "cand-1"),
        ]
        assert (verdicts[0].match_set, verdicts[0].match_label) == ("set-t", "CCO")
        assert verdicts[2].match_set is None
        assert [verdict.smiles for verdict in verdicts] == ["CCO", "COC", "COC"]

    def test_a_likeness_of_a_target_stays(self) -> None:
        target = known_set("set-k", "known", CCO=mol("CCO"))
        assert summary(screened([mol("CCO", 1)], [target])) == [("pending", None)]
        crystal = known_set("set-k", "known", quartz=QUARTZ)
        assert summary(screened([rattled(QUARTZ, 0.02)], [crystal])) == [("pending", None)]

    def test_what_an_earlier_round_found_is_a_copy_of_it(self) -> None:
        # also where it is a target, and trained on by now
        sets = [
            known_set("set-t", "training", CCO=mol("CCO")),
            known_set("set-k", "known", CCO=mol("CCO")),
            KnownSet("set-f", "found", [entry(mol("CCO", 3), "CCO")]),
        ]
        sets[2].entries[0].label = "cand-early"
        raw = screened([mol("CCO", 1), mol("CCO", 2), mol("COC")], sets)
        copy = ("duplicate", "cand-early")
        assert summary(raw) == [copy, copy, ("pending", None)]
        results = [relaxed(mol("CCO", 1), 0), relaxed(mol("CCO", 2), 1), relaxed(mol("COC"), 2)]
        assert summary(between_levels(ids(3), results, sets, MATCHING))[:2] == [copy, copy]
        assert summary(classify(ids(3), results, sets, MATCHING)) == [copy, copy, ("new", None)]
        crystals = [
            known_set("set-k", "known", quartz=QUARTZ),
            KnownSet("set-f", "found", [entry(rattled(QUARTZ, 0.01), "cand-early")]),
        ]
        found = classify(ids(1), [relaxed(rattled(QUARTZ, 0.02, 5), 0)], crystals, MATCHING)
        assert summary(found) == [copy]
        assert found[0].rms is not None

    def test_a_raw_geometry_without_graph_goes_on(self) -> None:
        stretched = mol("CCO")
        centre = stretched.center_of_mass
        rough = Molecule(stretched.species, (stretched.cart_coords - centre) * 1.35)
        verdicts = screened([rough, rough.copy()], [])
        assert [(v.state, v.smiles) for v in verdicts] == [("pending", None)] * 2

    def test_matching_before_relaxation_can_be_switched_off(self) -> None:
        training = known_set("set-t", "training", CCO=mol("CCO"))
        verdicts = screened([mol("CCO"), mol("CCO", 1)], [training], before_relaxation=False)
        assert summary(verdicts) == [("pending", None)] * 2

    def test_crystals_are_compared_strictly(self) -> None:
        training = known_set("set-t", "training", quartz=QUARTZ)
        close, rough = rattled(QUARTZ, 0.02), rattled(QUARTZ, 0.15, seed=1)
        verdicts = screened([close, rough, rough.copy(), CRISTOBALITE], [training])
        assert [verdict.state for verdict in verdicts] == [
            "rediscovered",
            "pending",
            "duplicate",
            "pending",
        ]
        assert verdicts[0].match_label == "quartz"
        assert verdicts[0].rms is not None
        assert 0 < verdicts[0].rms < 0.05
        assert (verdicts[2].match, verdicts[2].rms) == ("cand-1", 0.0)
        assert verdicts[3].spacegroup == "P4_12_12"
        # at the tolerance meant for relaxed structures the rough one would have gone
        lenient = screened([rough], [training], tolerance_before_relaxation="default")
        assert lenient[0].state == "rediscovered"

    def test_a_training_entry_is_rediscovered_once(self) -> None:
        training = known_set("set-t", "training", quartz=QUARTZ)
        pool = [rattled(QUARTZ, 0.02, seed=i) for i in range(3)]
        verdicts = screened(pool, [training])
        entry_id = training.entries[0].id
        assert summary(verdicts) == [
            ("rediscovered", entry_id),
            ("duplicate", "cand-0"),
            ("duplicate", "cand-0"),
        ]

    @pytest.mark.parametrize("first", ["training", "known"])
    def test_a_target_that_is_trained_on_too_stays_a_target(self, first: str) -> None:
        second = "known" if first == "training" else "training"
        known = [known_set(f"set-{role}", role, quartz=QUARTZ) for role in (first, second)]
        assert screened([rattled(QUARTZ, 0.02)], known)[0].state == "pending"
        documents = [relaxed(rattled(QUARTZ, 0.02), 0)]
        assert between_levels(ids(1), documents, known, MATCHING)[0].state == "pending"
        (verdict,) = classify(ids(1), documents, known, MATCHING)
        assert (verdict.state, verdict.match_set) == ("rediscovered", "set-known")

    def test_a_target_is_not_lost_to_its_likeness_in_the_training_set(self) -> None:
        # cand-0 is nearest to the training entry, cand-1 to the target; both equal each other
        near = rattled(QUARTZ, 0.04, seed=5)
        training = known_set("set-t", "training", near=near)
        target = known_set("set-k", "known", quartz=QUARTZ)
        verdicts = screened([near, QUARTZ], [training, target])
        assert summary(verdicts) == [("rediscovered", training.entries[0].id), ("pending", None)]

    def test_nothing_in_nothing_out(self) -> None:
        assert screened([], []) == []

    def test_molecules_and_crystals_do_not_mix(self) -> None:
        with pytest.raises(ValueError, match="not both"):
            screened([mol("CCO"), QUARTZ], [])


class TestBetweenLevels:
    def test_bad_ends_and_missing_results_fail_with_a_reason(self) -> None:
        verdicts = between_levels(
            ids(4),
            [
                None,
                relaxed(mol("CCO"), 1, state="not_converged"),
                relaxed(mol("CCO"), 2, None, state="calculator_crashed"),
                relaxed(mol("COC"), 3),
            ],
            [],
            MATCHING,
        )
        assert [(v.state, v.reason) for v in verdicts] == [
            ("failed", "relaxation job ended without a result; 'status' of the campaign says how"),
            ("failed", "not converged: it went wrong"),
            ("failed", "calculator crashed: it went wrong"),
            ("pending", ""),
        ]

    def test_unconverged_ones_go_on_where_the_caller_says_so(self) -> None:
        documents = [relaxed(mol("CCO"), 0, state="not_converged")]
        good = {"converged", "not_converged"}
        verdicts = between_levels(ids(1), documents, [], MATCHING, good_states=good)
        assert verdicts[0].state == "pending"

    def test_of_equal_candidates_the_lowest_goes_on(self) -> None:
        documents = [
            relaxed(mol("CCO", 0), 0, -1.0),
            relaxed(mol("CCO", 1), 1, -2.0),
            relaxed(mol("CCO", 2), 2, -2.0),
            relaxed(mol("CCO", 3), 3, None),
            relaxed(mol("COC"), 4, -1.5),
        ]
        assert summary(between_levels(ids(5), documents, [], MATCHING)) == [
            ("duplicate", "cand-1"),
            ("pending", None),
            ("duplicate", "cand-1"),
            ("duplicate", "cand-1"),
            ("pending", None),
        ]

    def test_broken_molecules_are_dissociated(self) -> None:
        pieces = Molecule(
            ["O", "H", "H", "O", "H", "H"],
            [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], [5, 0, 0], [5.96, 0, 0], [4.76, 0.93, 0]],
        )
        (verdict,) = between_levels(ids(1), [relaxed(pieces, 0)], [], MATCHING)
        assert verdict.state == "failed"
        assert verdict.reason == "dissociated: in 2 fragments (H2O + H2O)"

    def test_training_copies_go_out_and_likenesses_of_targets_stay(self) -> None:
        known = [
            known_set("set-t", "training", quartz=QUARTZ),
            known_set("set-k", "known", cristobalite=CRISTOBALITE),
        ]
        documents = [
            relaxed(rattled(QUARTZ, 0.05), 0),
            relaxed(rattled(CRISTOBALITE, 0.05), 1),
            relaxed(STISHOVITE, 2),
        ]
        verdicts = between_levels(ids(3), documents, known, MATCHING)
        assert [v.state for v in verdicts] == ["rediscovered", "pending", "pending"]
        assert (verdicts[0].match_set, verdicts[0].match_label) == ("set-t", "quartz")

    def test_what_is_nearer_to_a_target_than_to_the_training_set_stays(self) -> None:
        # training set and target are near matches, as for most of the published targets
        near = rattled(QUARTZ, 0.12, seed=5)
        training = known_set("set-t", "training", near=near)
        target = known_set("set-k", "known", quartz=QUARTZ)
        found = relaxed(rattled(QUARTZ, 0.02), 0)
        for known in ([training, target], [target, training]):
            assert between_levels(ids(1), [found], known, MATCHING)[0].state == "pending"
            (verdict,) = classify(ids(1), [found], known, MATCHING)
            assert (verdict.state, verdict.match_set) == ("rediscovered", "set-k")
        # without the target in sight it is a copy
        assert between_levels(ids(1), [found], [training], MATCHING)[0].state == "rediscovered"


class TestClassification:
    def test_known_new_equal_and_failed_molecules(self) -> None:
        known = [
            known_set("set-t", "training", **{"CCO": mol("CCO")}),
            known_set("set-k", "known", **{"CCCO": mol("CCCO"), "CCOC": mol("CCOC")}),
        ]
        documents = [
            relaxed(mol("CCCO", 1), 0, -1.0),
            relaxed(mol("CCCO", 2), 1, -2.0),
            relaxed(mol("CC(C)O", 1), 2, -1.0),
            relaxed(mol("CC(C)O", 2), 3, -0.5),
            None,
            relaxed(mol("CCO", 3), 5),
        ]
        verdicts = classify(ids(6), documents, known, MATCHING)
        target = known[1].entries[0].id
        assert summary(verdicts) == [
            ("duplicate", "cand-1"),
            ("rediscovered", target),
            ("new", None),
            ("duplicate", "cand-2"),
            ("failed", None),
            ("rediscovered", known[0].entries[0].id),
        ]
        assert (verdicts[1].match_set, verdicts[1].match_label) == ("set-k", "CCCO")
        assert verdicts[2].smiles == "CC(C)O"
        assert verdicts[5].match_set == "set-t"
        assert [verdict.candidate_id for verdict in verdicts] == ids(6)

    def test_crystals_by_structure_matcher(self) -> None:
        known = [known_set("set-k", "known", quartz=QUARTZ, stishovite=STISHOVITE)]
        supercell = rattled(QUARTZ, 0.03)
        supercell.make_supercell([2, 1, 1])
        documents = [
            relaxed(supercell, 0, -200.0),
            relaxed(rattled(QUARTZ, 0.03, seed=2), 1, -101.0),
            relaxed(CRISTOBALITE, 2, -130.0),
        ]
        verdicts = classify(ids(3), documents, known, MATCHING)
        # per atom, the small cell lies lower
        assert summary(verdicts) == [
            ("duplicate", "cand-1"),
            ("rediscovered", known[0].entries[0].id),
            ("new", None),
        ]
        assert verdicts[1].rms is not None
        assert 0 < verdicts[1].rms < 0.05
        assert verdicts[2].spacegroup == "P4_12_12"

    def test_results_do_not_depend_on_the_order_of_candidates(self) -> None:
        known = [known_set("set-k", "known", quartz=QUARTZ)]
        pool = [rattled(QUARTZ, 0.05, seed=i) for i in range(3)]
        pool += [rattled(CRISTOBALITE, 0.05, seed=i) for i in range(3)]
        energies = [-1.0, -1.2, -1.1, -2.0, -2.2, -2.1]

        def outcome(order: list[int]) -> dict[int, tuple[str, int | str | None]]:
            documents = [relaxed(pool[j], i, energies[j]) for i, j in enumerate(order)]
            verdicts = classify(ids(6), documents, known, MATCHING)
            result: dict[int, tuple[str, int | str | None]] = {}
            for j, verdict in zip(order, verdicts, strict=True):
                match: int | str | None = verdict.match
                if verdict.state == "duplicate":
                    match = order[int(str(match).removeprefix("cand-"))]
                result[j] = (verdict.state, match)
            return result

        expected = outcome([0, 1, 2, 3, 4, 5])
        assert expected[1][0] == "rediscovered"
        assert expected[4] == ("new", None)
        assert outcome([5, 3, 1, 0, 2, 4]) == expected

    def test_stereo_counts_where_the_spec_says_so(self) -> None:
        left, right = mol("C[C@H](O)F"), mol("C[C@@H](O)F")
        known = [known_set("set-k", "known", **{"CC(O)F": left})]
        documents = [relaxed(left, 0), relaxed(right, 1)]
        plain = classify(ids(2), documents, known, MATCHING)
        assert [verdict.state for verdict in plain] == ["rediscovered", "duplicate"]
        for identity in ("smiles-stereo", "inchi"):
            matching = MatchingSpec(identity=identity)
            stereo = classify(ids(2), documents, known, matching)
            assert [verdict.state for verdict in stereo] == ["rediscovered", "new"]
            assert {verdict.smiles for verdict in stereo} == {"CC(O)F"}

    def test_conformers_count_where_the_spec_says_so(self) -> None:
        anti = mol("CCCC")
        gauche = turned(anti, 115)
        known = [known_set("set-k", "known", CCCC=anti)]
        nearly = turned(gauche, 3)
        documents = [relaxed(rattled(anti, 0.01), 0), relaxed(gauche, 1), relaxed(nearly, 2)]
        plain = classify(ids(3), documents, known, MATCHING)
        assert [v.state for v in plain] == ["rediscovered", "duplicate", "duplicate"]
        assert [v.rms_angstrom for v in plain] == [None] * 3
        for order in ([0, 1, 2], [0, 2, 1]):
            shuffled = [relaxed(documents[j].structure, i) for i, j in enumerate(order)]
            matching = MatchingSpec(conformer_rmsd=0.2)
            asked = classify(ids(3), shuffled, known, matching)
            assert [v.state for v in asked] == ["rediscovered", "new", "duplicate"]
            assert asked[0].rms is None
            assert asked[0].rms_angstrom == pytest.approx(0.01, abs=0.02)
            assert asked[2].rms_angstrom == pytest.approx(0.02, abs=0.02)

    def test_a_copy_of_a_rediscovery_is_no_discovery(self, monkeypatch) -> None:
        # matching is not transitive: let cand-1 equal cand-0 but no known entry
        from logan_campaign.matching.crystals import CrystalMatcher

        known = [known_set("set-k", "known", quartz=QUARTZ)]
        documents = [relaxed(rattled(QUARTZ, 0.02), 0), relaxed(rattled(QUARTZ, 0.04), 1)]
        outlier = structure_id(documents[1].structure)
        plain = CrystalMatcher.match

        def forgetful(self, structure, entries):
            return None if structure_id(structure) == outlier else plain(self, structure, entries)

        monkeypatch.setattr(CrystalMatcher, "match", forgetful)
        verdicts = classify(ids(2), documents, known, MATCHING)
        assert [verdict.state for verdict in verdicts] == ["rediscovered", "duplicate"]
        assert verdicts[1].match == "cand-0"

    def test_documents_must_belong_to_their_candidates(self) -> None:
        with pytest.raises(ValueError, match="one relaxation"):
            classify(ids(2), [None], [], MATCHING)
        with pytest.raises(ValueError, match="cand-1 given for cand-0"):
            classify(["cand-0"], [relaxed(QUARTZ, 1)], [], MATCHING)


def test_energies_outside_the_window_go_no_further_and_are_told() -> None:
    ethanol, ether = mol("CCO"), mol("COC")
    relaxations = [relaxed(ethanol, 0, -9.0), relaxed(ether, 1, -4.5)]  # 0.5 eV/atom apart
    within = between_levels(ids(2), relaxations, [], MATCHING, window_ev_per_atom=0.6)
    assert [v.state for v in within] == ["pending", "pending"]
    outside = between_levels(ids(2), relaxations, [], MATCHING, window_ev_per_atom=0.4)
    assert [v.state for v in outside] == ["pending", "rejected"]
    assert "0.500 eV/atom above the lowest" in outside[1].reason


def test_of_a_group_the_others_stand_ready_in_the_order_of_their_energies() -> None:
    copies = [mol("CCO", seed=i) for i in range(4)]
    relaxations = [
        relaxed(s, i, e) for i, (s, e) in enumerate(zip(copies, (-2, -4, -3, -1), strict=True))
    ]
    verdicts = between_levels(ids(4), relaxations, [], MATCHING)
    assert reserves(verdicts, relaxations) == {"cand-1": ["cand-2", "cand-0", "cand-3"]}
    assert reserves(verdicts[1:2], relaxations) == {}


class TestWhatWasComparedWith:
    def test_verdicts_count_the_entries_of_their_composition_by_role(self) -> None:
        ether, ethanol, propanol = (mol(text) for text in ("COC", "CCO", "CCCO"))
        sets = [
            KnownSet("set-t", "training", [entry(ethanol, "a"), entry(propanol, "b")]),
            KnownSet("set-k", "known", [entry(propanol, "b")]),
        ]
        [verdict] = classify(ids(1), [relaxed(ether, 0)], sets, MATCHING)
        assert (verdict.state, verdict.reason) == ("new", "")
        assert verdict.compared == {"training": 1, "known": 0}

    def test_new_without_any_entry_to_equal_says_so(self) -> None:
        ether, propanol = mol("COC"), mol("CCCO")
        for sets in ([], [KnownSet("set-k", "known", [entry(propanol, "b")])]):
            [verdict] = classify(ids(1), [relaxed(ether, 0)], sets, MATCHING)
            assert verdict.state == "new"
            assert verdict.reason == "no known entry of C2H6O to compare with"
            assert not any((verdict.compared or {}).values())

    def test_crystals_count_in_cells_of_any_size(self) -> None:
        sets = [KnownSet("set-k", "known", [entry(QUARTZ, "q"), entry(STISHOVITE, "s")])]
        [verdict] = classify(ids(1), [relaxed(CRISTOBALITE, 0)], sets, MATCHING)
        assert (verdict.state, verdict.compared) == ("new", {"known": 2})


@pytest.mark.parametrize("judge", [between_levels, classify])
def test_an_energy_far_below_all_others_is_a_hole_and_stands_for_none(judge: Any) -> None:
    shapes = [mol(text) for text in ("CCCO", "CC(C)O", "COCC", "COCC", "COCC", "CCCO")]
    energies = [-100.0, -101.0, -99.0, -99.5, -100.5, -100.0 - 12 * 3.0]  # 12 atoms
    relaxations = [relaxed(s, i, e) for i, (s, e) in enumerate(zip(shapes, energies, strict=True))]
    verdicts = judge(ids(6), relaxations, [], MATCHING)
    assert verdicts[5].state == "failed"
    assert "2.98 eV/atom below the median" in verdicts[5].reason
    assert verdicts[0].state in ("new", "pending")  # the other propanol stands for itself


def test_among_few_or_widely_scattered_energies_none_is_a_hole() -> None:
    shapes = [mol(text) for text in ("CCCO", "CC(C)O", "COCC", "CCCO", "CC(C)O", "COCC")]
    wide = [relaxed(s, i, -100.0 - 36.0 * i) for i, s in enumerate(shapes)]
    assert "failed" not in {v.state for v in classify(ids(6), wide, [], MATCHING)}
    few = [
        relaxed(s, i, e)
        for i, (s, e) in enumerate(zip(shapes[:4], (-100.0, -101.0, -99.0, -400.0), strict=True))
    ]
    assert "failed" not in {v.state for v in classify(ids(4), few, [], MATCHING)}
