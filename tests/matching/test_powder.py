"""Structures are found again by a measured powder pattern."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from logan_campaign.core.errors import InputError
from logan_campaign.matching.powder import HALF_WIDTH, STEP, Pattern, similarities

ANGLES = np.arange(15.0, 80.0, STEP)


def _oxides() -> dict[str, Structure]:
    def made(group: str, lattice: Lattice, **sites: list[float]) -> Structure:
        names = [name.rstrip("0123456789") for name in sites]
        return Structure.from_spacegroup(group, lattice, names, list(sites.values()))

    cubic, hexagonal, tetragonal = Lattice.cubic, Lattice.hexagonal, Lattice.tetragonal
    corner, middle = [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]
    return {
        "quartz": made(
            "P3_221", hexagonal(4.916, 5.405), Si=[0.4697, 0, 2 / 3], O=[0.4135, 0.2669, 0.7858]
        ),
        "cristobalite": made(
            "P4_12_12", tetragonal(4.978, 6.948), Si=[0.3003, 0.3003, 0], O=[0.2392, 0.1044, 0.1787]
        ),
        "stishovite": made("P4_2/mnm", tetragonal(4.180, 2.667), Si=corner, O=[0.306, 0.306, 0]),
        "rutile": made("P4_2/mnm", tetragonal(4.594, 2.959), Ti=corner, O=[0.305, 0.305, 0]),
        "anatase": made("I4_1/amd", tetragonal(3.785, 9.514), Ti=corner, O=[0, 0, 0.208]),
        "cassiterite": made("P4_2/mnm", tetragonal(4.737, 3.186), Sn=corner, O=[0.307, 0.307, 0]),
        "MgO": made("Fm-3m", cubic(4.212), Mg=corner, O=middle),
        "NiO": made("Fm-3m", cubic(4.177), Ni=corner, O=middle),
        "ZnO": made(
            "P6_3mc", hexagonal(3.250, 5.207), Zn=[1 / 3, 2 / 3, 0], O=[1 / 3, 2 / 3, 0.38]
        ),
        "CeO2": made("Fm-3m", cubic(5.411), Ce=corner, O=[0.25, 0.25, 0.25]),
        "Cu2O": made("Pn-3m", cubic(4.270), Cu=corner, O=[0.25, 0.25, 0.25]),
        "SrTiO3": made("Pm-3m", cubic(3.905), Sr=corner, Ti=middle, O=[0.5, 0.5, 0]),
    }  # fmt: skip


OXIDES = _oxides()


def measured(noise: float = 0.0, **parts: float) -> np.ndarray:
    """Return a pattern of phases (parts of their strongest reflections) on a sloping background."""
    rng, total = np.random.default_rng(0), np.zeros_like(ANGLES)
    for name, part in parts.items():
        found = XRDCalculator("CuKa").get_pattern(OXIDES[name], two_theta_range=(10, 85))
        shape = np.exp(-0.5 * ((ANGLES[:, None] - np.asarray(found.x)) / 0.08) ** 2)
        total += part * shape @ np.asarray(found.y)
    total += 300 * np.exp(-ANGLES / 20) + 20
    return np.asarray(total + noise * 100 * rng.normal(size=total.shape))


def ranked(pattern: Pattern, wrong: float = 1.0) -> list[str]:
    """Return the oxides by likeness, all of them with cells that are wrong by a factor."""
    found = {
        name: pattern.likeness(Structure(Lattice(one.lattice.matrix * wrong), one.species,
                                         one.frac_coords))
        for name, one in OXIDES.items()
    }  # fmt: skip
    return sorted(found, key=lambda name: -found[name].similarity)


@pytest.mark.parametrize("name", ["quartz", "rutile"])
@pytest.mark.parametrize("wrong", [1.0, 0.98, 1.02])
def test_a_phase_ranks_first_with_noise_and_a_wrong_cell(name: str, wrong: float) -> None:
    pattern = Pattern(ANGLES, measured(0.05, **{name: 1.0}))
    assert ranked(pattern, wrong)[0] == name


@pytest.mark.parametrize("wrong", [1.0, 1.02])
def test_both_phases_of_a_mixture_rank_first(wrong: float) -> None:
    pattern = Pattern(ANGLES, measured(0.02, quartz=0.6, rutile=0.4))
    assert set(ranked(pattern, wrong)[:2]) == {"quartz", "rutile"}


def test_the_scale_of_the_cell_is_found() -> None:
    found = Pattern(ANGLES, measured(rutile=1.0)).likeness(OXIDES["rutile"].copy())
    assert found.similarity > 0.95
    assert found.scale == pytest.approx(1.0, abs=0.002)
    wide = OXIDES["rutile"].copy()
    wide.scale_lattice(wide.volume * 1.02**3)
    found = Pattern(ANGLES, measured(rutile=1.0)).likeness(wide)
    assert found.scale == pytest.approx(1 / 1.02, abs=0.002)


def test_the_measure_is_that_of_de_gelder_as_pyxtal_computes_it() -> None:
    from pyxtal.XRD import Similarity

    pattern = Pattern(grid := np.arange(20.0, 32.0, STEP), np.exp(-(((grid - 25) / 0.3) ** 2)))
    other = np.exp(-(((pattern.grid - 25.4) / 0.3) ** 2))
    both = (pattern.grid, pattern.intensity), (pattern.grid, other)
    # shifts by whole steps of its grid, to which it cuts others off
    expected = Similarity(*both, N=51, l=HALF_WIDTH, weight="triangle").value
    smeared = pattern._smear(other)
    ours = pattern.intensity @ smeared / (other @ smeared * pattern._norm) ** 0.5
    assert 0.1 < ours < 0.95
    assert ours == pytest.approx(expected, abs=0.01)


def test_a_pattern_is_read_with_any_separator_and_headings(tmp_path: Path) -> None:
    counts = measured(quartz=1.0)
    atoms = [one.to_ase_atoms() for one in (OXIDES["MgO"], OXIDES["quartz"])]
    for separator in (" ", ",", ";", "\t"):
        rows = [f"{x:.3f}{separator}{y:.5f}" for x, y in zip(ANGLES, counts, strict=True)]
        path = tmp_path / "measured.xy"
        path.write_text("\n".join(["# made up", f"2theta{separator}counts", *rows]))
        other, same = similarities(atoms, str(path))  # as the strategy 'score' calls it
        assert same > 0.95 > other


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least"),
        ("10 1\nten 2\n", "line 2"),
        ("\n".join(f"{100 - x} 1" for x in range(60)), "must rise"),
        ("\n".join(f"{10 + x} 1" for x in range(60)), "above its background"),
        ("\n".join(f"{10 + x} nan" for x in range(60)), "finite"),
    ],
)
def test_what_is_no_pattern_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "measured.xy"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Pattern.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.xy: No such file"):
        Pattern.read(tmp_path / "none.xy")
