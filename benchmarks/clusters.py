"""Clusters, spin and given atoms: whether what is known comes out.

    python benchmarks/clusters.py run       # half an hour; goes on where it was
    python benchmarks/clusters.py report --json

- Cu13: what ``init --kind cluster`` writes, three seeds, at most 20 EMT relaxations each; found is
  the icosahedron.
- Aluminium on Cu(111): what ``init --kind slab`` writes, three seeds; found is the site that is
  best when the four sites are relaxed with EMT.
- O2: triplet and singlet in GFN2-xTB and in GPAW (PBE, LCAO).
- NiO: antiferromagnetic and ferromagnetic in GPAW (PBE+U, plane waves), experimental lattice.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, make_supercell
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.io import write
from ase.optimize import BFGS
from pymatgen.core import Molecule, Structure
from records import RESULTS, append, environment, read, run_or_report

from logan_campaign.cli.starting import State, starting_spec
from logan_campaign.core.documents import marked
from logan_campaign.geometry.structures import from_atoms
from logan_campaign.matching.arrangements import arrangement_rmsd
from logan_campaign.matching.placements import placement_rmsd
from logan_campaign.relaxation.levels import ASELevel, GPAWLevel, Level, XTBLevel
from logan_campaign.relaxation.run import relax

SEEDS = (0, 1, 2)
SITES = ("fcc", "hcp", "bridge", "ontop")


def relaxed_by_campaign(text: str, folder: Path, *overrides: str) -> list[dict[str, Any]]:
    """Run a campaign with jobflow alone and return its relaxations, in the order of the picks."""
    from jobflow import JobStore, run_locally
    from maggma.stores import MemoryStore

    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.flows import CampaignMaker

    path = folder / "spec.yaml"
    path.write_text(text)
    spec = CampaignSpec.from_file(path, overrides)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    flow = CampaignMaker(name=spec.name, spec=spec, base=str(folder)).make()
    run_locally(flow, store=store, root_dir=folder, create_folders=True, log=False)
    [picked] = [d["output"] for d in store.query({"output.doc_type": "selection"})]
    found = [d["output"] for d in store.query({"output.doc_type": "relaxation"})]
    for batch in store.query({"output.doc_type": "relaxations"}):
        found += batch["output"]["relaxations"]
    by_candidate = {one["candidate_id"]: one for one in found}
    return [by_candidate[one["id"]] for one in picked["candidates"] if one["id"] in by_candidate]


def icosahedron() -> Molecule:
    """Return the icosahedron of 13 copper atoms, relaxed with EMT."""
    atoms = Icosahedron("Cu", 2)
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.01)
    return Molecule(atoms.get_chemical_symbols(), atoms.positions)


def slab() -> Atoms:
    """Return three layers of Cu(111), four atoms each."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    atoms.pbc = True
    atoms.info.clear()
    return atoms


def on_site(site: str, element: str) -> Structure:
    """Return the slab with an atom on a site, first in order as in targets."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, element, 1.9, site)
    atoms.pbc = True
    structure = from_atoms(atoms[[-1, *range(len(atoms) - 1)]])
    assert isinstance(structure, Structure)
    marked(structure, fixed=range(1, len(atoms)))
    return structure


EMT_LEVEL = ASELevel(target="ase.calculators.emt:EMT", isolate=False, fmax=0.01)


def copper(seed: int, *overrides: str) -> dict[str, Any]:
    """Look for the icosahedron; return which relaxation found it, from 1."""
    from logan_campaign.core.documents import expand

    text, _ = starting_spec("cluster", "Cu13", "cu13", "spec.yaml")
    with tempfile.TemporaryDirectory() as folder:
        found = relaxed_by_campaign(text, Path(folder), f"seed={seed}", *overrides)
    target = icosahedron()
    hits = [
        k
        for k, doc in enumerate(found, 1)
        if doc["state"] == "converged"
        and arrangement_rmsd(target, expand(doc["structure"]), 0.25) is not None
    ]
    return {"relaxations": len(found), "first": hits[0] if hits else None, "hits": len(hits)}


def adsorbate(seed: int, *overrides: str) -> dict[str, Any]:
    """Look for the best site of an atom on a surface; return site energies and what was found."""
    from logan_campaign.core.documents import expand

    with tempfile.TemporaryDirectory() as text_folder:
        folder = Path(text_folder)
        write(folder / "slab.extxyz", slab())
        state = State(slab=folder / "slab.extxyz")
        text, _ = starting_spec("slab", "Al", "al", str(folder / "spec.yaml"), state=state)
        source = "training.source={type: builtin, name: elements, formulas: [Al, Cu]}"
        found = relaxed_by_campaign(text, folder, source, f"seed={seed}", *overrides)
        # atoms on a site stay there by symmetry
        sites = {site: relax(on_site(site, "Al"), EMT_LEVEL, workdir=folder) for site in SITES}
    energies = {site: float(done.energy_ev or 0.0) for site, done in sites.items()}
    best = min(energies, key=energies.__getitem__)
    structures = [expand(doc["structure"]) for doc in found]
    moved = max(float(np.abs(one.cart_coords[1:] - slab().positions).max()) for one in structures)
    lowest = min(range(len(found)), key=lambda k: found[k]["energy_ev"])
    apart = placement_rmsd(sites[best].structure, structures[lowest])
    return {
        "relaxations": len(found),
        "sites_mev": {s: round(1000 * (e - energies[best]), 1) for s, e in energies.items()},
        "best": best,
        "found_best": apart is not None and apart < 0.25,
        "given_atoms_moved_angstrom": moved,
    }


def oxygen(level: Level) -> dict[str, Any]:
    """Return the energy of triplet and singlet O2 (eV)."""
    energies = {}
    for name, multiplicity in (("triplet", 3), ("singlet", 1)):
        molecule = Molecule(["O", "O"], [[0, 0, 0], [0, 0, 1.21]])
        marked(molecule, multiplicity=multiplicity)
        with tempfile.TemporaryDirectory() as folder:
            done = relax(molecule, level, workdir=folder)
        energies[name] = done.energy_ev
    return {"energies_ev": energies}


def nickel_oxide() -> dict[str, Any]:
    """Return the energy of both magnetic orders (eV, for two formula units)."""
    crystal = make_supercell(bulk("NiO", "rocksalt", a=4.17), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    energies = {}
    for order in ("antiferromagnetic", "ferromagnetic"):
        level = GPAWLevel.model_validate(
            {
                "mode": "pw",
                "ecut_ev": 400.0,
                "xc": "PBE",
                "kpts": {"density": 2.0},
                "smearing": {"width": 0.05},
                "magnetic_moments": {"Ni": 2.0},
                "magnetic_order": order,
                "hubbard_u": {"Ni": {"orbital": "d", "value_ev": 6.0}},
                "max_steps": 0,
                "fmax": 1000.0,
                "max_time_s": None,
                "isolate": False,
            }
        )
        with tempfile.TemporaryDirectory() as folder:
            done = relax(from_atoms(crystal), level, workdir=folder)
        energies[order] = done.energy_ev
    return {"energies_ev": energies}


WORK: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"Cu13, seed {k}": lambda k=k: copper(k) for k in SEEDS},  # type: ignore[misc]
    **{f"Al on Cu(111), seed {k}": lambda k=k: adsorbate(k) for k in SEEDS},  # type: ignore[misc]
    "O2, GFN2-xTB": lambda: oxygen(XTBLevel(max_steps=0, fmax=1000.0)),
    "NiO, PBE+U": nickel_oxide,
    "O2, PBE": lambda: oxygen(
        GPAWLevel(xc="PBE", max_steps=0, fmax=1000.0, isolate=False, max_time_s=None)
    ),
}


def run(args: argparse.Namespace) -> None:
    """Compute what has not been."""
    done = {record["name"] for record in read(args.out) if record["kind"] == "found"}
    left = [name for name in WORK if name not in done and (args.only or "") in name]
    if left:
        append(args.out, {"kind": "run", **environment()})
    for name in left:
        record = {"kind": "found", "name": name, **WORK[name]()}
        append(args.out, record)
        print(record, flush=True)


def report(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a line per piece of work; of two energies also how far the second is above."""
    table = []
    for record in read(args.out):
        if record["kind"] != "found":
            continue
        row = {key: value for key, value in record.items() if key != "kind"}
        if "energies_ev" in row:
            names, energies = zip(*row["energies_ev"].items(), strict=True)
            if None not in energies:
                row[f"{names[1]} above {names[0]} (eV)"] = round(energies[1] - energies[0], 3)
        table.append(row)
    return table


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", help="run what has this in its name")
    run_or_report(parser, RESULTS / "clusters.jsonl", run, report)


if __name__ == "__main__":
    main()
