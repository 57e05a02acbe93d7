"""Radicals, ions and clusters: from the spec to verdicts by their geometry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers
from ase.formula import Formula
from hypothesis import given, settings
from hypothesis import strategies as st
from made_relaxations import made_relaxation
from pydantic import ValidationError
from pymatgen.core import Lattice, Molecule, Structure
from scipy.spatial.transform import Rotation

from logan_campaign.campaign.classification import (
    KnownSet,
    between_levels,
    classify,
    screen_and_match,
)
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.target import TargetSpec
from logan_campaign.core.documents import (
    Candidate,
    Geometry,
    RelaxationDoc,
    StructureEntry,
    compact,
    expand,
    marked,
    marks,
)
from logan_campaign.core.errors import InputError
from logan_campaign.geometry.structures import from_atoms, structure_id, to_atoms
from logan_campaign.matching.arrangements import arrangement_rmsd
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.relaxation.levels import XTBLevel
from logan_campaign.relaxation.run import relax
from logan_campaign.selection.screening import ScreeningSpec

SPEC = """\
name: small
target: {kind: molecule, formula: CH3%s}
training:
  source: {type: smiles, smiles: [CCC]}
select: {strategy: kmeans, n_picks: 4}
relax:
  levels: [{name: xtb, calculator: gfn2-xtb}]
"""


def ring_of_waters(tilt: float = 0.0) -> Atoms:
    """Return six waters in a ring, each with one hydrogen towards the next oxygen."""
    ring = Atoms()
    for k in range(6):
        angle, beside = np.pi / 3 * np.array([k, k + 1])
        here, there = (
            2.75 * np.array([np.cos(a), np.sin(a), 0.0]) + [0, 0, 0.1 * (-1) ** n]
            for a, n in ((angle, k), (beside, k + 1))
        )
        donated = (there - here) / np.linalg.norm(there - here)
        up = np.array([0.0, np.sin(tilt * k), np.cos(tilt * k) * (-1.0) ** k])
        free = np.cos(1.82) * donated + np.sin(1.82) * (up - up @ donated * donated)
        ring += Atoms("OH2", [here, here + 0.97 * donated, here + 0.97 * free])
    return ring


def disguised(structure: Molecule, width: float = 0.02, seed: int = 0) -> Molecule:
    """Return the molecule rattled, turned, mirrored and with its atoms in another order."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=rng).as_matrix()
    positions = structure.cart_coords + rng.normal(scale=width, size=(len(structure), 3))
    order = rng.permutation(len(structure))
    species = [structure[int(k)].specie for k in order]
    return marked(Molecule(species, -(positions @ turn.T)[order] + 1.0), **marks(structure))


def relaxation(name: str, structure: Geometry, energy: float) -> RelaxationDoc:
    return made_relaxation(structure, name, energy)


def known(*structures: Geometry) -> list[KnownSet]:
    entries = [
        StructureEntry(
            id=structure_id(one),
            label=f"entry {k}",
            formula=to_atoms(one).get_chemical_formula("hill"),
            structure=one,
        )
        for k, one in enumerate(structures)
    ]
    return [KnownSet("set-1", "known", entries)]


def states(structures: dict[str, Geometry], *entries: Geometry) -> dict[str, str]:
    """Return the final state of structures, the first the lowest in energy."""
    documents = [relaxation(n, s, -100.0 + 0.1 * k) for k, (n, s) in enumerate(structures.items())]
    verdicts = classify(list(structures), documents, known(*entries), MatchingSpec())
    return {verdict.candidate_id: verdict.state for verdict in verdicts}


CH3 = marked(from_atoms(molecule("CH3")), multiplicity=2)
HEXAMER = marked(from_atoms(ring_of_waters()), cluster=True)


@given(st.sampled_from(["CH3", "O2", "H", "NO", "Cu13"]), st.integers(-3, 3), st.integers(1, 8))
def test_a_multiplicity_is_accepted_where_that_many_electrons_can_be_unpaired(
    formula: str, charge: int, multiplicity: int
) -> None:
    electrons = sum(atomic_numbers[s] * n for s, n in Formula(formula).count().items()) - charge
    possible = electrons > 0 and multiplicity - 1 in range(electrons % 2, electrons + 1, 2)
    try:
        TargetSpec(kind="cluster", formula=formula, charge=charge, multiplicity=multiplicity)
    except ValidationError:
        assert not possible
    else:
        assert possible


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (", multiplicity: 3", "9 electrons, so multiplicity 3 is impossible"),
        (", charge: 12", "leaves CH3 no electrons"),
        ("", "CH3 has an odd number of electrons.*give a radical or ion its 'multiplicity'"),
        (", cell: drawn, kind: crystal, charge: 1", "'charge' and 'multiplicity' are for mol"),
    ],
)
def test_impossible_states_are_refused_in_one_line(
    tmp_path: Path, target: str, message: str
) -> None:
    path = tmp_path / "spec.yaml"
    text = SPEC % target
    path.write_text(text.replace("kind: molecule, ", "") if "crystal" in target else text)
    with pytest.raises(InputError, match=message) as caught:
        CampaignSpec.from_file(path).check(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("state", ["multiplicity: 2", "charge: 1", "charge: -1, multiplicity: 3"])
def test_a_radical_or_ion_is_a_target(tmp_path: Path, state: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC % f", {state}")
    spec = CampaignSpec.from_file(path)
    made = spec.check(tmp_path).geometry(CH3.cart_coords, np.eye(3))
    assert (made.charge, made.spin_multiplicity - 1) == (
        spec.target.charge,
        (spec.target.multiplicity or 1) - 1,
    )
    plain = CampaignSpec.from_file(path, ["target.charge=0", "target.multiplicity=2"])
    assert (plain.id == spec.id) == (state == "multiplicity: 2")


@pytest.mark.parametrize(
    "said",
    [{"charge": -1}, {"multiplicity": 4}, {"cluster": True}, {"fixed": [0, 2]}, {}],
    ids=str,
)
def test_what_a_structure_states_is_stored_and_part_of_its_identity(said: dict) -> None:
    plain = from_atoms(molecule("CH3"))
    stating = marked(plain.copy(), **said)
    again = expand(compact(stating))
    assert marks(again) == said
    assert structure_id(again) == structure_id(stating)
    assert (structure_id(again) == structure_id(plain)) == (said == {})


@pytest.mark.parametrize("of", [CH3, HEXAMER], ids=["CH3", "(H2O)6"])
def test_a_structure_without_a_graph_is_new_duplicate_or_rediscovered(of: Molecule) -> None:
    found = {"first": of, "same": disguised(of), "bent": disguised(of, width=0.5, seed=3)}
    alone = states({name: found[name] for name in ("first", "same")})
    assert alone == {"first": "new", "same": "duplicate"}
    assert states(found, disguised(of, seed=1))["same"] == "duplicate"
    assert states(found, disguised(of, seed=1))["first"] == "rediscovered"
    assert states(found, disguised(of, seed=1))["bent"] != "rediscovered"


def test_fragments_are_no_cluster_and_no_radical() -> None:
    atoms = to_atoms(HEXAMER)
    atoms.positions[:3] += 4.0 * atoms.positions[0] / np.linalg.norm(atoms.positions[0])
    apart = marked(from_atoms(atoms), cluster=True)
    atoms = to_atoms(CH3)
    atoms.positions[1] *= 2.0
    broken = marked(from_atoms(atoms), multiplicity=2)
    for structure, whole in ((apart, HEXAMER), (broken, CH3)):
        one = [relaxation("a", structure, -1.0)]
        [verdict] = between_levels(["a"], one, known(whole), MatchingSpec())
        assert verdict.state == "failed"
        assert "fragments" in verdict.reason
    # waters are molecules of their own where nothing says that they are a cluster
    assert states({"a": from_atoms(ring_of_waters())}) == {"a": "failed"}


def test_spins_of_one_geometry_are_different_structures() -> None:
    found = {
        name: marked(from_atoms(molecule("O2")), multiplicity=m)
        for name, m in (("triplet", 3), ("quintet", 5))
    }
    assert states(found) == {"triplet": "new", "quintet": "new"}


def test_screening_keeps_radicals_and_clusters() -> None:
    picks = [
        Candidate(
            id=f"cand-{k}",
            model_id="m",
            pool_id="p",
            sample_index=k,
            strategy="kmeans",
            cluster=k,
            represents=1,
            structure=structure,
        )
        for k, structure in enumerate([CH3, disguised(CH3)])
    ]
    found = screen_and_match(picks, known(CH3), ScreeningSpec(), MatchingSpec())
    assert [verdict.state for verdict in found] == ["pending", "duplicate"]


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_disguised_arrangement_is_no_farther_than_its_atoms_were_moved(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = Molecule(["Cu"] * 4 + ["O"], rng.uniform(-2, 2, (5, 3)))
    two = disguised(one, width=0.05, seed=seed)
    moved = disguised(one, width=0.0, seed=seed)
    applied = np.sqrt(np.mean(np.sum((two.cart_coords - moved.cart_coords) ** 2, axis=1)))
    found = arrangement_rmsd(one, two, 3.0 * applied)
    assert found is not None
    assert found <= 1.5 * applied + 1e-9


@pytest.mark.parametrize("isolate", [False, True])
def test_xtb_sees_charge_and_spin(tmp_path: Path, isolate: bool) -> None:
    level = XTBLevel(isolate=isolate, max_steps=100)

    def energy(name: str, **said: int) -> float:
        found = relax(marked(from_atoms(molecule(name)), **said), level, workdir=tmp_path)
        assert found.state == "converged"
        assert marks(found.structure) == {k: v for k, v in said.items() if v}
        return float(found.energy_ev or 0.0)

    triplet = energy("O2", multiplicity=3)
    if isolate:
        assert triplet == pytest.approx(-215.84, abs=0.01)
        return
    assert triplet < energy("O2") - 0.1
    assert 10.0 < energy("H2O", charge=1) - energy("H2O") < 25.0  # ionization


def test_a_cluster_of_waters_stays_together_in_a_relaxation(tmp_path: Path) -> None:
    level = XTBLevel(fmax=0.1)
    whole = relax(HEXAMER, level, workdir=tmp_path)
    assert whole.state == "converged"
    loose = relax(from_atoms(ring_of_waters()), level, workdir=tmp_path)
    assert loose.state == "dissociated"


def test_the_verdict_on_a_crystal_names_its_molecules() -> None:
    ice = Structure(Lattice.cubic(4.0), ["O", "H", "H"], [[0, 0, 0], [0.24, 0, 0], [0, 0.24, 0]])
    crystals = {"ice": ice, "iron": Structure(Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]])}
    for name, molecules in (("ice", "1 O"), ("iron", None)):
        [verdict] = classify(
            [name], [relaxation(name, crystals[name], -1.0)], known(), MatchingSpec()
        )
        assert verdict.molecules == molecules
