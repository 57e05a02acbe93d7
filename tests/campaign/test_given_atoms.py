"""Atoms that are given stay exactly where they are, from the spec to the relaxed structure."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st
from made_relaxations import made_relaxation
from pymatgen.core import Structure

from logan_campaign.campaign.classification import KnownSet, classify
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.campaign.target import TargetSpec
from logan_campaign.core.documents import (
    StructureEntry,
    compact,
    expand,
    marked,
    marks,
)
from logan_campaign.core.errors import InputError
from logan_campaign.generators.cells import post_processing
from logan_campaign.geometry.structures import formula, from_atoms, structure_id
from logan_campaign.matching.placements import placement_rmsd
from logan_campaign.matching.spec import MatchingSpec
from logan_campaign.relaxation.levels import ASELevel
from logan_campaign.relaxation.run import relax

SPEC = """\
name: small
target: {kind: crystal, formula: O, fixed: slab.extxyz%s}
training: {source: {type: files, path: slab.extxyz}}
models: {hyperparameters: {method: descent%s}}
select: {strategy: kmeans, n_picks: 4%s}
relax:
  levels:
    - {name: emt, calculator: ase, target: "ase.calculators.emt:EMT"%s}
"""


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    atoms.pbc = (True, True, False)
    atoms.info.clear()  # where adsorbates can be, which files cannot say
    return atoms


def with_oxygen(site: str, offset: tuple[int, int] = (0, 0), height: float = 1.2) -> Structure:
    """Return the slab with an oxygen, first in order as in targets."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, "O", height, site, offset=offset)
    atoms = atoms[[-1, *range(len(atoms) - 1)]]
    atoms.pbc = True
    structure = from_atoms(atoms)
    assert isinstance(structure, Structure)
    return marked(structure, fixed=range(1, len(atoms)))  # type: ignore[return-value]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "slab.extxyz", slab())
    write(tmp_path / "methyl.xyz", molecule("CH3"))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ((", cell: learned", "", "", ""), "the cell is that of 'fixed'"),
        (("", "", "", ", relax_cell: true"), "would move the atoms of target.fixed"),
        (("", "", "}, {strategy: framework, n_picks: 2, symmetrize: 0.1", ""), "symmetrize"),
        ((", fixed: none.cif", "", "", ""), "there is no file .*none.cif"),
        ((", fixed: methyl.xyz", "", "", ""), "is not periodic.*'kind: molecule'"),
        ((", kind: molecule", "", "", ""), "is a periodic structure.*'kind: crystal'"),
    ],
)
def test_settings_that_given_atoms_exclude_are_refused(
    folder: Path, changes: tuple[str, ...], message: str
) -> None:
    text = SPEC % changes
    for word in ("fixed", "kind"):
        if f", {word}:" in changes[0]:  # the later one replaces the first
            first = {"fixed": ", fixed: slab.extxyz", "kind": "kind: crystal, "}[word]
            text = text.replace(first, "", 1)
    if "strategy: framework" in text:
        text = text.replace("select: {", "select: [{").replace("0.1}", "0.1}]")
    (folder / "spec.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        CampaignSpec.from_file(folder / "spec.yaml").check(folder)


def test_the_electrons_of_given_atoms_count(folder: Path) -> None:
    def resolved(multiplicity: int) -> None:
        TargetSpec(
            kind="cluster", formula="H", fixed="methyl.xyz", multiplicity=multiplicity
        ).resolve(folder)

    resolved(3)
    with pytest.raises(InputError, match="10 electrons, so multiplicity 2 is impossible"):
        resolved(2)


def test_given_atoms_are_exact_from_file_to_pool_and_document(folder: Path) -> None:
    target = TargetSpec(kind="crystal", formula="O2", fixed="slab.extxyz").resolve(folder)
    given_atoms = np.array(target.given)
    np.testing.assert_allclose(given_atoms, slab().positions, atol=1e-7)
    place = post_processing(target.to_gan())
    outputs = place.initial_outputs(jax.random.key(0), 8)
    positions, cells = place(outputs, np.zeros((8, 0)))
    assert positions.shape == (8, 14, 3)
    made = target.geometry(np.asarray(positions[0]), np.asarray(cells))
    again = expand(compact(made))
    assert marks(again) == {"fixed": list(range(2, 14))}
    np.testing.assert_allclose(again.cart_coords[2:], given_atoms, rtol=0, atol=1e-12)
    # free atoms begin beside the given ones, not in the vacuum or on top of an atom
    free = Atoms("Cu12", given_atoms, cell=target.cell, pbc=True)
    for position in np.asarray(positions)[:, :2].reshape(-1, 3):
        near = (free + Atoms("O", [position])).get_distances(12, range(12), mic=True).min()
        assert 1.4 < near < 3.3


@pytest.mark.parametrize("isolate", [False, True])
def test_given_atoms_do_not_move_in_a_relaxation(folder: Path, isolate: bool) -> None:
    target = TargetSpec(kind="crystal", formula="O", fixed="slab.extxyz").resolve(folder)
    start = with_oxygen("bridge")
    made = target.geometry(start.cart_coords.astype(np.float32), start.lattice.matrix)
    level = ASELevel(target="ase.calculators.emt:EMT", isolate=isolate, max_steps=60)
    found = relax(made, level, workdir=folder)
    assert found.state == "converged"
    final = expand(compact(found.structure))
    assert marks(final) == marks(made)
    assert np.abs(final.cart_coords[1:] - np.array(target.given)).max() < 1e-6
    assert np.abs(final.cart_coords[0] - made.cart_coords[0]).max() > 0.01


@given(
    st.sampled_from(["fcc", "hcp", "ontop", "bridge"]),
    st.sampled_from(["fcc", "hcp", "ontop", "bridge"]),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
@settings(max_examples=15)
def test_adsorbates_are_equal_on_equal_sites(
    first: str, second: str, offset: tuple[int, int]
) -> None:
    apart = placement_rmsd(with_oxygen(first), with_oxygen(second, offset))
    assert apart is not None
    assert (apart < 1e-4) == (first == second)
    back = placement_rmsd(with_oxygen(second, offset), with_oxygen(first))
    assert back == pytest.approx(apart, abs=1e-6)


def test_another_slab_is_another_structure() -> None:
    other = with_oxygen("fcc")
    other.translate_sites([3], [0, 0, 0.2], frac_coords=False)
    assert placement_rmsd(with_oxygen("fcc"), other) is None


def test_an_adsorbate_is_new_duplicate_or_rediscovered() -> None:
    found = {
        "fcc": with_oxygen("fcc"),
        "fcc too": with_oxygen("fcc", (1, 0), height=1.25),
        "top": with_oxygen("ontop"),
        "hcp": with_oxygen("hcp"),
    }
    documents = [
        made_relaxation(structure, name, float(k), level="emt", calculator="ase")
        for k, (name, structure) in enumerate(found.items())
    ]
    plain = marked(with_oxygen("hcp", (0, 1)).copy())
    plain.remove_site_property("selective_dynamics")  # as files have it
    entry = StructureEntry(
        id=structure_id(plain), label="hcp", formula=formula(plain), structure=plain
    )
    known = [KnownSet("set-1", "known", [entry])]
    verdicts = classify(list(found), documents, known, MatchingSpec())
    assert {verdict.candidate_id: verdict.state for verdict in verdicts} == {
        "fcc": "new",
        "fcc too": "duplicate",
        "top": "new",
        "hcp": "rediscovered",
    }


def test_a_host_without_room_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "host.cif", bulk("Cu").repeat(2))
    with pytest.raises(InputError, match="there is no room"):
        post_processing(
            TargetSpec(kind="crystal", formula="Cs", fixed="host.cif").resolve(tmp_path).to_gan()
        )
