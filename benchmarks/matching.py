"""Matching of crystals at scale, beside brute force extrapolated from a sample.

    python benchmarks/matching.py --json
    python benchmarks/matching.py --known 5000 --raw 600 --picks 200     # a look in minutes

Raw structures of 12-atom SiO2 come half from a model trained for 400 steps on silicas of
other sizes, half from random placement; known crystals from substituting elements into
pymatgen's AFLOW prototypes. Times are processor times of one core.

Brute force is ``StructureMatcher.fit`` on every pair that a plain loop would look at: each
pick against each known crystal, and each structure against the leaders of the groups so
far. Its time per pair is measured on pairs drawn at random from those, once on structures
as they come (``fit``) and once on structures that were reduced beforehand, as
``group_structures`` does it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from logan_campaign.core.processors import pin_to_cores
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.generators.target import Target

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "sio2"

CATIONS = (
    *("Li", "Na", "K", "Be", "Mg", "Ca", "Sr", "Al", "Ga", "Si", "Ge", "Sn", "Ti", "Zr"),
    *("Hf", "V", "Nb", "Cr", "Mo", "Mn", "Fe", "Co", "Ni", "Cu", "Zn"),
)
ANIONS = ("O", "S", "Se", "N", "P", "F", "Cl", "Br", "H", "C")


def main() -> None:
    options = _options()
    pin_to_cores([options.core])
    import numpy as np

    from logan_campaign.matching.crystals import TOLERANCES

    rng = np.random.default_rng(options.seed)
    row: dict[str, Any] = {"known": options.known, "picks": options.picks, "raw": options.raw}
    with _Work(options.work) as work:
        raw, row["cpu_raw_s"] = _timed(
            lambda: raw_structures(options.raw, options.steps, work, options.seed)
        )
        raw = [raw[i] for i in rng.permutation(len(raw))]
        if options.part != "growth":
            known, row["cpu_known_s"] = _timed(lambda: known_crystals(options.known, options.seed))
            row["known_sio2"] = sum(_is_silica(entry.formula) for entry in known)
            _tell(row)
            row |= index_and_query(known, work, options.queries, rng)
            _tell(row)
            row |= match_picks(raw[: options.picks], known, work, options.sample, rng)
            _tell(row)
            for tolerance in TOLERANCES:
                row[f"false_negatives_{tolerance}"] = false_negatives(
                    tolerance, options.matches, raw, known, rng
                )
            checks = row["false_negatives_default"]
            row["false_negative_fraction"] = checks["lost"] / checks["matches"]
        if options.part != "known":
            row |= growth(raw, options.picks, options.sample, rng)
    print(json.dumps(row, indent=1) if options.json else report(row))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--known", type=int, default=100_000)
    parser.add_argument("--picks", type=int, default=2_000)
    parser.add_argument("--raw", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=400, help="planted duplicates looked up")
    parser.add_argument("--matches", type=int, default=400, help="true matches per tolerance")
    parser.add_argument("--sample", type=int, default=300, help="pairs timed by brute force")
    parser.add_argument("--steps", type=int, default=400, help="training steps of the model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--part", choices=("known", "growth"), help="only this part")
    parser.add_argument("--work", help="folder that keeps raw structures and index")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


class _Work:
    """A folder, temporary unless one is given."""

    def __init__(self, given: str | None) -> None:
        self._temporary = None if given else tempfile.TemporaryDirectory()
        self._path = Path(given or self._temporary.name)

    def __enter__(self) -> Path:
        self._path.mkdir(parents=True, exist_ok=True)
        return self._path

    def __exit__(self, *exc_info: object) -> None:
        if self._temporary:
            self._temporary.cleanup()


def _tell(row: dict[str, Any]) -> None:
    """Say on standard error what is known so far: the whole takes a while."""
    print(json.dumps(row), file=sys.stderr, flush=True)


def _timed(function: Any) -> tuple[Any, float]:
    begun = time.process_time()
    result = function()
    return result, time.process_time() - begun


def _is_silica(formula: str) -> bool:
    from logan_campaign.geometry.formulas import reduced_formula

    return reduced_formula(formula) == "O2Si"


# --- structures -----------------------------------------------------------------------


def raw_structures(n: int, steps: int, work: Path, seed: int) -> list[Any]:
    """Return plausible 12-atom SiO2 structures: half from a model, half random."""
    import numpy as np

    from logan_campaign.generators import wgan
    from logan_campaign.geometry.structures import from_arrays, to_atoms
    from logan_campaign.selection.screening import ScreeningSpec, screen_pool
    from logan_campaign.sources import BuiltinSource

    entries = BuiltinSource(name="sio2-prototypes").load().entries
    cell = next(e for e in entries if len(e.structure) == 12).structure.lattice.matrix
    numbers = np.array([8] * 8 + [14] * 4)

    def plausible(positions: Any) -> Any:
        cells = np.repeat(cell[None], len(positions), axis=0)
        reasons = screen_pool(positions, cells, numbers, True, ScreeningSpec())
        return positions[reasons == ""]

    path = work / f"model-{steps}-{seed}.npz"
    if not path.exists():
        enable_compilation_cache()
        settings = {"r_cut": 4.0, "n_max": 4, "n_neighbour": 12, "learning_rate": 10**-3.5}
        settings |= {"rattle_copies": 10, "rattle_stdev": 0.03, "environments_per_species": 20}
        trained = wgan.train(
            [to_atoms(e.structure) for e in entries if len(e.structure) not in (12, 72)],
            Target(tuple(numbers.tolist()), tuple(map(tuple, cell.tolist())), True),
            wgan.Hyperparameters(**settings, steps=steps),
            seed=seed,
            training_set_id="set-benchmark",
        )
        np.savez(path, positions=wgan.generate(trained.model, 16_000, seed=seed).positions)
    generated = plausible(np.load(path)["positions"])[: n // 2]
    rng = np.random.default_rng(seed)
    placed = np.zeros((0, 12, 3))
    while len(placed) < n - len(generated):
        tried = rng.random((5_000, 12, 3)) @ cell
        placed = np.concatenate([placed, plausible(tried)])
    positions = np.concatenate([generated, placed[: n - len(generated)]])
    return [from_arrays(numbers, where, cell) for where in positions]


def known_crystals(n: int, seed: int) -> list[Any]:
    """Return distinct crystals: prototypes with other elements, sizes and small distortions."""
    import numpy as np
    from ase.data import covalent_radii
    from ase.io import read
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY
    from pymatgen.core import Element, Lattice, Structure

    from logan_campaign.geometry.structures import from_atoms

    rng = np.random.default_rng(seed)
    prototypes = []
    for prototype in AFLOW_PROTOTYPE_LIBRARY:
        structure = prototype["snl"].structure.get_primitive_structure()
        if len(structure) <= 24 and 2 <= len(structure.composition) <= 4:
            prototypes.append(structure)
    silicates = [s for s in prototypes if s.composition.anonymized_formula == "AB2"]

    structures: list[Any] = []
    if SHARED.is_dir():
        for path in sorted(SHARED.glob("*.extxyz")):
            structures += [from_atoms(atoms) for atoms in read(path, ":")]
    # a database holds some silicas of every kind, and about as many as of other compositions
    n_silicas = max(1, n // 200)
    while len(structures) < n:
        silica = len(structures) < n_silicas
        some = silicates if silica else prototypes
        base = some[int(rng.integers(len(some)))]
        names = sorted(base.composition, key=lambda e: (base.composition[e], e.symbol))
        if silica:
            chosen = ["Si", "O"]
        else:
            cations = rng.choice(CATIONS, len(names) - 1, replace=False)
            chosen = [*cations, str(rng.choice(ANIONS))]
        swap = dict(zip(names, chosen, strict=True))
        species = [swap[site.specie] for site in base]
        radii = covalent_radii[[Element(name).Z for name in species]]
        # about as dense as silica: touching spheres that fill a third
        volume = 4 / 3 * np.pi * (radii**3).sum() / rng.uniform(0.3, 0.4)
        strain = np.eye(3) + rng.normal(0, 0.01, (3, 3))
        lattice = Lattice(base.lattice.matrix @ strain).scale(volume)
        frac = base.frac_coords + rng.normal(0, 0.02, (len(base), 3)) / np.array(lattice.abc)
        structures.append(Structure(lattice, species, frac))
    return [_entry(structure, f"known {i}") for i, structure in enumerate(structures[:n])]


def _entry(structure: Any, label: str) -> Any:
    from logan_campaign.core.documents import StructureEntry
    from logan_campaign.geometry.formulas import hill_formula
    from logan_campaign.geometry.structures import structure_id

    name = hill_formula(structure.formula.replace(" ", ""))
    return StructureEntry(
        id=structure_id(structure), label=label, formula=name, structure=structure
    )


def disguised(structure: Any, rng: Any) -> Any:
    """Return a rotated, shifted, permuted supercell, rattled by 0.02 Å."""
    from pymatgen.core import Structure
    from pymatgen.core.operations import SymmOp

    copy = structure.copy()
    factors = [1, 1, 1]
    factors[int(rng.integers(3))] = 2
    copy.make_supercell(factors)
    axis, angle = rng.normal(size=3), rng.uniform(0, 360)
    copy.apply_operation(SymmOp.from_axis_angle_and_translation(axis, angle))
    copy.translate_sites(range(len(copy)), rng.uniform(size=3))
    copy = moved(copy, 0.02, rng)
    return Structure.from_sites([copy[int(i)] for i in rng.permutation(len(copy))])


def moved(structure: Any, width: float, rng: Any, strain: float = 0.0) -> Any:
    """Return a copy with every site moved by ``width`` (Å, rms) in a strained cell."""
    import numpy as np
    from pymatgen.core import Lattice, Structure

    matrix = structure.lattice.matrix
    steps = rng.normal(0, width / 3**0.5, (len(structure), 3)) @ np.linalg.inv(matrix)
    strained = matrix @ (np.eye(3) + rng.normal(0, strain, (3, 3)))
    return Structure(Lattice(strained), structure.species, structure.frac_coords + steps)


# --- measurements ---------------------------------------------------------------------


def index_and_query(
    known: Sequence[Any], work: Path, n_queries: int, rng: Any
) -> dict[str, float | int]:
    """Index the known crystals, and look up planted duplicates of some of them."""
    from logan_campaign.matching import CrystalMatcher
    from logan_campaign.stores.known import KnownIndex
    from logan_campaign.stores.open import open_store

    found: dict[str, float | int] = {}
    with open_store(work / f"known-{len(known)}.sqlite", create=True) as stores:
        index = KnownIndex(stores.known_entries())
        if sum(index.count().values()) < len({entry.id for entry in known}):
            found["cpu_index_s"] = _timed(lambda: index.add(known, "benchmark"))[1]
    # half of them silicas, whose bucket is the fullest
    silicas = [entry for entry in known if _is_silica(entry.formula)]
    n_silicas = min(len(silicas), n_queries // 2)
    chosen = [silicas[i] for i in rng.choice(len(silicas), n_silicas, replace=False)]
    chosen += [known[i] for i in rng.choice(len(known), n_queries - n_silicas, replace=False)]
    queries = [(entry, disguised(entry.structure, rng)) for entry in chosen]
    for mode in ("exact", "prefilter"):
        with open_store(work / f"known-{len(known)}.sqlite") as stores:
            index = KnownIndex(stores.known_entries())  # nothing read yet
            matcher = CrystalMatcher(mode=mode)
            n_found = 0
            wall, cpu = time.perf_counter(), time.process_time()
            for entry, query in queries:
                matches = index.match_crystal(query, matcher)
                n_found += any(match.entry.id == entry.id for match in matches)
            found[f"query_ms_{mode}"] = 1e3 * (time.perf_counter() - wall) / len(queries)
            found[f"cpu_query_ms_{mode}"] = 1e3 * (time.process_time() - cpu) / len(queries)
            found[f"planted_found_{mode}"] = n_found
    found["planted"] = len(queries)
    return found


def match_picks(
    picks: Sequence[Any], known: Sequence[Any], work: Path, n_sample: int, rng: Any
) -> dict[str, float | int]:
    """Match picks against the known crystals and one another, beside brute force."""
    from logan_campaign.matching import CrystalMatcher
    from logan_campaign.stores.known import KnownIndex
    from logan_campaign.stores.open import open_store

    found: dict[str, float | int] = {}
    groups: list[list[int]] = []
    for mode in ("exact", "prefilter"):
        with open_store(work / f"known-{len(known)}.sqlite") as stores:
            index, matcher = KnownIndex(stores.known_entries()), CrystalMatcher(mode=mode)
            begun = time.process_time()
            n_known = sum(bool(index.match_crystal(pick, matcher)) for pick in picks)
            groups = matcher.group(picks)
            found[f"cpu_picks_{mode}_s"] = time.process_time() - begun
            found[f"picks_known_{mode}"] = n_known
            found[f"pick_groups_{mode}"] = len(groups)
    alike = [entry.structure for entry in known if _is_silica(entry.formula)]
    others = [entry.structure for entry in known if not _is_silica(entry.formula)]
    brute = reduced = 0.0
    n_among = _pairs_of_leaders(groups)
    for many, n_pairs in (
        (alike, len(picks) * len(alike)),
        (others, len(picks) * len(others)),
        (picks, n_among),
    ):
        plain, beforehand = brute_force(picks, many, n_sample, rng)
        brute += n_pairs * plain
        reduced += n_pairs * beforehand
    found["brute_force_s"] = brute
    found["brute_force_reduced_s"] = reduced
    found["speedup_over_brute_force"] = brute / found["cpu_picks_prefilter_s"]
    found["speedup_exact"] = brute / found["cpu_picks_exact_s"]
    found["speedup_over_reduced_brute_force"] = reduced / found["cpu_picks_prefilter_s"]
    return found


def growth(
    raw: Sequence[Any], n_first: int, n_sample: int, rng: Any
) -> dict[str, list[dict[str, float | int]]]:
    """Group more and more raw structures; exactly only as many as the picks."""
    from logan_campaign.matching import CrystalMatcher

    rows: list[dict[str, float | int]] = []
    plain, beforehand = brute_force(raw, raw, n_sample, rng)
    for n in sorted({min(len(raw), size) for size in (n_first, 3 * n_first, 10 * n_first)}):
        row: dict[str, float | int] = {"raw": n}
        both = []
        for mode in ("exact", "prefilter") if n == n_first else ("prefilter",):
            matcher = CrystalMatcher(mode=mode)
            groups, cpu = _timed(lambda m=matcher, k=n: m.group(raw[:k]))
            both.append(groups)
            row[f"cpu_{mode}_s"] = cpu
            row["groups"] = len(groups)
        row["same_groups_in_both_modes"] = all(found == both[0] for found in both)
        row["pairs"] = _pairs_of_leaders(groups)
        row["brute_force_s"] = plain * row["pairs"]
        row["speedup"] = row["brute_force_s"] / row["cpu_prefilter_s"]
        row["speedup_reduced"] = beforehand * row["pairs"] / row["cpu_prefilter_s"]
        rows.append(row)
        _tell(row)
    return {"growth": rows}


def _pairs_of_leaders(groups: Sequence[Sequence[int]]) -> int:
    """Return how many pairs leader grouping looks at, all structures having one key."""
    # a member is compared with the leaders up to its own, a leader with those before it
    return sum(len(members) * place + len(members) - 1 for place, members in enumerate(groups))


def brute_force(
    ones: Sequence[Any], others: Sequence[Any], n_sample: int, rng: Any
) -> tuple[float, float]:
    """Return seconds per pair: on structures as they come, and on reduced ones."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    from logan_campaign.matching.crystals import TOLERANCES
    from logan_campaign.matching.reduction import reduce_crystal

    ltol, stol, angle_tol = TOLERANCES["default"]
    matcher = StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle_tol)
    pairs = [
        (ones[int(rng.integers(len(ones)))], others[int(rng.integers(len(others)))])
        for _ in range(n_sample)
    ]
    begun = time.process_time()
    for one, two in pairs:
        matcher.fit(one, two)
    plain = (time.process_time() - begun) / n_sample
    prepared = [tuple(reduce_crystal(s).structure for s in pair) for pair in pairs]
    begun = time.process_time()
    for one, two in prepared:
        matcher.fit(one, two, skip_structure_reduction=True)
    return plain, (time.process_time() - begun) / n_sample


def false_negatives(
    tolerance: Any, n_matches: int, raw: Sequence[Any], known: Sequence[Any], rng: Any
) -> dict[str, float | int]:
    """Count true matches and planted duplicates that each mode loses.

    True matches are what StructureMatcher says yes to, with a normalised rms distance of
    at least 0.05, evenly spread up to the largest that the tolerance allows.
    """
    import numpy as np
    from pymatgen.analysis.structure_matcher import StructureMatcher

    from logan_campaign.matching.bucket import Bucket
    from logan_campaign.matching.crystals import FINGERPRINT_LIMITS, TOLERANCES, CrystalMatcher
    from logan_campaign.matching.fingerprint import distances, fingerprint
    from logan_campaign.matching.rejection import Rejector

    ltol, stol, angle_tol = TOLERANCES[tolerance]
    plain = StructureMatcher(ltol=ltol, stol=stol, angle_tol=angle_tol)
    matcher, rejector = CrystalMatcher(tolerance), Rejector(ltol, stol, angle_tol)
    silicas = [entry.structure for entry in known if _is_silica(entry.formula)]

    def lost(one: Any, two: Any) -> tuple[bool, bool, float]:
        first, second = sorted((matcher.reduced(one), matcher.reduced(two)), key=lambda r: r.id)
        if first.key != second.key:
            return True, True, np.inf
        bucket = Bucket()
        bucket.add(second)
        [possible] = rejector.possible(first, bucket, np.array([0]))
        [apart] = distances(fingerprint(first), fingerprint(second)[None])
        return not possible, bool(apart > FINGERPRINT_LIMITS[tolerance]), float(apart)

    rms, apart, by_rejection, by_prefilter = [], [], 0, 0
    while len(rms) < n_matches:
        pool = (raw, silicas)[len(rms) % 2]
        base = pool[int(rng.integers(len(pool)))]
        length = (base.volume / len(base)) ** (1 / 3)
        other = moved(base, rng.uniform(0.05, stol) * length, rng, strain=0.02)
        one, two = sorted((matcher.reduced(base), matcher.reduced(other)), key=lambda r: r.id)
        if one.key != two.key or not plain.fit(
            one.structure, two.structure, skip_structure_reduction=True
        ):
            continue
        measured = plain.get_rms_dist(one.structure, two.structure)
        if measured is None or measured[0] < min(0.05, stol / 4):
            continue
        rms.append(float(measured[0]))
        rejected, filtered, distance = lost(base, other)
        by_rejection += rejected
        by_prefilter += filtered
        apart.append(distance)
    planted = [lost(entry.structure, disguised(entry.structure, rng)) for entry in known[-200:]]
    return {
        "matches": len(rms),
        "rms_min": min(rms),
        "rms_median": float(np.median(rms)),
        "rms_max": max(rms),
        "lost": by_prefilter,
        "lost_by_rejection": by_rejection,
        "fingerprint_limit": FINGERPRINT_LIMITS[tolerance],
        "fingerprint_median": float(np.median(apart)),
        "fingerprint_max": max(apart),
        "planted": len(planted),
        "planted_lost": sum(filtered for _, filtered, _ in planted),
        "planted_lost_by_rejection": sum(rejected for rejected, _, _ in planted),
        "planted_fingerprint_max": max(distance for *_, distance in planted),
    }


def report(row: dict[str, Any]) -> str:
    """Return the figures as text."""
    return "\n".join(_lines(row))


def _lines(row: dict[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in row.items():
        if isinstance(value, list):
            yield f"{indent}{name}:"
            for item in value:
                yield indent + "  " + ", ".join(f"{k} {v:.6g}" for k, v in item.items())
        elif isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {value:.6g}"


if __name__ == "__main__":
    main()
