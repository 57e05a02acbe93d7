"""From the job documents of one campaign to its records: pure functions, no stores.

Documents may come in any order and at any time of a running campaign; what is not known
yet is left out, and a candidate without a verdict is pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from logan_campaign.campaign.stability import HullEntry, above_hull
from logan_campaign.core.documents import SCHEMA_VERSION, RoundSummary, expand
from logan_campaign.core.errors import StoreError
from logan_campaign.core.ids import content_id
from logan_campaign.geometry.structures import hill_formula
from logan_campaign.stores.schemas import RECORD_VERSION

Doc = dict[str, Any]

#: Kinds of job documents that records are derived from.
DOC_TYPES = (
    "campaign",
    "training_set",
    "model",
    "pool",
    "selection",
    "screening",
    "relaxation",
    "classification",
    "reference",
    "leakage",
    "round",
)


@dataclass
class CampaignRecords:
    """All records of one campaign; those of shared things tell what it knows of them."""

    campaign: Doc
    training_sets: list[Doc] = field(default_factory=list)
    models: list[Doc] = field(default_factory=list)
    candidates: list[Doc] = field(default_factory=list)


def derive(job_documents: Iterable[Doc]) -> CampaignRecords | None:
    """Derive the records of a campaign.

    Args:
        job_documents: documents of the campaign's jobs as jobflow stores them: ``uuid``,
            ``index``, ``completed_at``, ``hosts``, ``output``.

    Returns:
        The records, or None as long as the campaign's own document is not among them.

    Raises:
        StoreError: if a document is from a newer version or not what it says it is.
    """
    found: dict[str, list[Doc]] = {name: [] for name in DOC_TYPES}
    keys = []
    for doc in latest(job_documents):
        keys.append(document_key(doc))
        found[doc["output"]["doc_type"]].append(doc)
    for docs in found.values():
        docs.sort(key=lambda doc: (doc.get("completed_at") or "", doc["uuid"]))
    if not found["campaign"]:
        return None
    try:
        return _derive(found, keys)
    except (KeyError, TypeError, IndexError) as err:
        raise StoreError(f"a job document lacks or misplaces {err}: the store is damaged") from err


def _derive(found: dict[str, list[Doc]], keys: list[str]) -> CampaignRecords:
    about = found["campaign"][-1]
    campaign = about["output"]
    training_sets = _training_sets(found["training_set"], campaign["id"])
    models = _models(found["model"], found["pool"], campaign["id"])
    set_of = {model["id"]: model["training_set_id"] for model in models}
    candidates = _candidates(found, campaign, set_of)
    references = [
        reference for doc in found["reference"] for reference in doc["output"]["references"]
    ]
    _add_energies_above_hull(candidates, references)
    record = {
        **{key: campaign[key] for key in ("id", "name", "formula", "kind", "spec", "spec_id")},
        **{key: campaign[key] for key in ("seed", "levels")},
        "schema_version": RECORD_VERSION,
        "training_set_ids": [doc["id"] for doc in training_sets if doc["role"] == "training"],
        "known_set_ids": [doc["id"] for doc in training_sets if doc["role"] == "known"],
        "model_ids": [doc["id"] for doc in models],
        "selections": [_selection(doc) for doc in sorted(found["selection"], key=_round)],
        "rounds": _rounds(found["round"]),
        "references": [_plain(reference) for reference in references],
        "leakage": _leakage(found["leakage"]),
        "n_candidates": len(candidates),
        "n_materials": len({doc["material_id"] for doc in candidates} - {None}),
        "n_job_documents": len(keys),
        "job_documents_hash": documents_hash(keys),
        "updated_at": max(
            (doc["completed_at"] for docs in found.values() for doc in docs if doc["completed_at"]),
            default=None,
        ),
        "source": _source(about),
    }
    return CampaignRecords(record, training_sets, models, candidates)


def latest(job_documents: Iterable[Doc]) -> list[Doc]:
    """Return the documents that count: of each job and kind of output the highest index.

    Raises:
        StoreError: if a document is from a newer version of this package.
    """
    best: dict[tuple[str, str], Doc] = {}
    for doc in job_documents:
        output = doc["output"]
        if output.get("schema_version", 0) > SCHEMA_VERSION:
            raise StoreError(
                f"job {doc['uuid']} wrote a {output['doc_type']} of a newer version "
                f"({output['schema_version']}, this one reads up to {SCHEMA_VERSION})"
            )
        key = (doc["uuid"], output["doc_type"])
        if key not in best or doc["index"] > best[key]["index"]:
            best[key] = doc
    return list(best.values())


def document_key(doc: Mapping[str, Any]) -> str:
    """Return what tells one job document, as it stands, from all others."""
    return f"{doc['uuid']}/{doc['index']}/{doc.get('completed_at')}"


def documents_hash(keys: Iterable[str]) -> str:
    """Return a hash of document keys in any order."""
    return content_id("jobs", sorted(keys))


def _plain(obj: Mapping[str, Any]) -> Doc:
    """Return a nested document without what monty adds ('@class' and the like)."""
    return {key: value for key, value in obj.items() if not key.startswith("@")}


def _source(doc: Doc) -> Doc:
    return {
        "job_uuid": doc["uuid"],
        "job_index": doc["index"],
        "completed_at": doc.get("completed_at"),
        "hosts": list(doc.get("hosts") or []),
        "software": dict(doc["output"]["software"]),
    }


def blob_ref(value: Any) -> Doc | None:
    """Return the reference that jobflow left where a blob was; None for anything else."""
    if isinstance(value, Mapping) and "blob_uuid" in value:
        return {"blob_uuid": value["blob_uuid"], "store": value["store"]}
    return None


def _round(doc: Doc) -> int:
    return int(doc["output"].get("round", 0))


def _rounds(docs: Sequence[Doc]) -> list[Doc]:
    # a round that was judged again, under other rules, counts as judged last
    latest_of = {doc["output"]["index"]: doc["output"] for doc in docs}
    return [
        {
            **{key: output[key] for key in RoundSummary.model_fields},
            "found": [_plain(structure) for structure in output["found"]],
        }
        for _, output in sorted(latest_of.items())
    ]


def _selection(doc: Doc) -> Doc:
    output = doc["output"]
    copied = (
        "strategy",
        "settings",
        "n_generated",
        "n_unusable",
        "explained_variance",
        "pool_ids",
    )
    return {
        **{key: output[key] for key in copied},
        "round": output.get("round", 0),
        "cheap_relaxations": [_plain(done) for done in output.get("cheap_relaxations", [])],
        "learned": output.get("learned", ""),
        "n_candidates": len(output["candidates"]),
        "map": blob_ref(output["map"]),
        "source": _source(doc),
    }


def _training_sets(docs: Sequence[Doc], campaign_id: str) -> list[Doc]:
    records: dict[str, Doc] = {}
    for doc in docs:
        output = doc["output"]
        if output["role"] == "found":
            continue  # nothing but what the campaign's own candidates say
        known = records.get(output["id"])
        if known is not None and (known["role"] == "training" or output["role"] == "known"):
            continue  # the same set twice: trained on counts more
        records[output["id"]] = {
            **training_set(doc),
            "uses": [{"campaign_id": campaign_id, "role": output["role"]}],
            "campaign_ids": [campaign_id],
        }
    return list(records.values())


def training_set(doc: Doc) -> Doc:
    """Return the record of a set as one job document tells it, used by no campaign."""
    output = doc["output"]
    copied = ("id", "name", "role", "n_structures", "formulas", "species", "structure_ids")
    origin = output.get("origin")
    return {
        **{key: output[key] for key in (*copied, "labels", "n_duplicates")},
        "rejected": [_plain(rejection) for rejection in output["rejected"]],
        "schema_version": RECORD_VERSION,
        "uses": [],
        "campaign_ids": [],
        "query": output["source"],
        "query_id": output.get("query_id", ""),
        "pulled_at": output.get("pulled_at", ""),
        "origin": _plain(origin) if origin else None,
        "structures": blob_ref(output["structures"]),
        "source": _source(doc),
    }


def _leakage(docs: Sequence[Doc]) -> list[Doc] | None:
    if not docs:
        return None
    return [
        {**_plain(target), "matches": [_plain(match) for match in target["matches"]]}
        for target in docs[-1]["output"]["targets"]
    ]


_LOSSES = ("generator_loss", "critic_loss", "penalty", "wasserstein")


def _models(docs: Sequence[Doc], pool_docs: Sequence[Doc], campaign_id: str) -> list[Doc]:
    pools: dict[str, dict[str, Doc]] = {}
    for doc in pool_docs:
        output = doc["output"]
        pools.setdefault(output["model_id"], {})[output["id"]] = {
            **{key: output[key] for key in ("id", "seed", "n_structures", "elapsed_s")},
            "pool": blob_ref(output["pool"]),
            "source": _source(doc),
        }
    records: dict[str, Doc] = {}
    copied = ("id", "index", "state", "reason", "training_set_id", "algorithm_version", "seed")
    for doc in docs:
        output = doc["output"]
        history = _plain(output["history"])
        records[output["id"]] = {
            **{key: output[key] for key in copied},
            **{key: output[key] for key in ("formula", "hyperparameters", "steps")},
            **{key: output[key] for key in ("elapsed_s", "device")},
            "round": output.get("round", 0),
            "start_id": output.get("start_id"),
            "schema_version": RECORD_VERSION,
            "campaign_ids": [campaign_id],
            "final_losses": {key: history[key][-1] for key in _LOSSES} if history["step"] else None,
            "history": history,
            "weights": blob_ref(output["weights"]),
            "pools": [pool for _, pool in sorted(pools.get(output["id"], {}).items())],
            "source": _source(doc),
        }
    return sorted(
        records.values(), key=lambda record: (record["round"], record["index"], record["id"])
    )


def _candidates(
    found: Mapping[str, Sequence[Doc]], campaign: Doc, set_of: Mapping[str, str]
) -> list[Doc]:
    records: dict[str, Doc] = {}
    copied = ("id", "model_id", "pool_id", "sample_index", "strategy", "cluster", "represents")
    for doc in sorted(found["selection"], key=_round):
        for pick in doc["output"]["candidates"]:
            if pick["id"] in records:
                continue
            raw = _whole(pick["structure"])
            records[pick["id"]] = {
                **{key: pick[key] for key in copied},
                "graph": pick.get("graph"),
                "round": doc["output"].get("round", 0),
                "schema_version": RECORD_VERSION,
                "campaign_id": campaign["id"],
                "campaign": campaign["name"],
                "order": len(records),
                "state": "pending",
                "reason": "",
                "formula": _formula(raw),
                "kind": "crystal" if "lattice" in raw else "molecule",
                "training_set_id": set_of.get(pick["model_id"]),
                **dict.fromkeys(("smiles", "spacegroup", "level", "energy_ev")),
                **dict.fromkeys(("energy_per_atom_ev", "energy_above_min_ev")),
                "energy_above_hull_ev_per_atom": None,
                **dict.fromkeys(("match", "match_label", "match_set", "rms", "rms_angstrom")),
                "compared": None,
                "material_id": None,
                "relaxations": [],
                "raw_structure": raw,
                "structure": None,
                "source": _source(doc),
            }
    _add_relaxations(records, found["relaxation"])
    _add_verdicts(records, found, campaign["levels"])
    _add_energies_above_min(records.values())
    for record in records.values():
        record["material_id"] = _material_id(record, records)
    return list(records.values())


def _whole(structure: Doc) -> Doc:
    """Return a structure in pymatgen's own form, which holds in all records."""
    found = expand(structure)
    return found if isinstance(found, dict) else found.as_dict()


def _formula(structure: Mapping[str, Any]) -> str:
    return hill_formula([site["species"][0]["element"] for site in structure["sites"]])


_LATER_FIELDS = (
    *("cpu_s", "attempt", "continues", "stress_ev_per_angstrom3", "data_sets", "comparable"),
)


def _add_relaxations(records: Mapping[str, Doc], docs: Sequence[Doc]) -> None:
    copied = ("id", "level", "level_index", "state", "reason", "calculator", "settings")
    numbers = ("energy_ev", "energy_per_atom_ev", "max_force_ev_per_angstrom")
    by_candidate: dict[str, dict[str, tuple[Doc, Any]]] = {}
    for doc in docs:
        output = doc["output"]
        relaxation = {
            **{key: output[key] for key in (*copied, *numbers, "n_steps", "elapsed_s")},
            # Documents of earlier versions are without these.
            **{key: output[key] for key in _LATER_FIELDS if key in output},
            "trajectory": blob_ref(output["trajectory"]),
            "source": _source(doc),
        }
        found = by_candidate.setdefault(output["candidate_id"], {})
        found[output["id"]] = (relaxation, output["structure"])
    for candidate_id, found in by_candidate.items():
        record = records.get(candidate_id)
        if record is None:
            continue  # the selection is not there yet
        ordered = sorted(found.values(), key=lambda pair: (pair[0]["level_index"], pair[0]["id"]))
        record["relaxations"] = [relaxation for relaxation, _ in ordered]
        last, structure = ordered[-1]
        record.update(
            level=last["level"],
            energy_ev=last["energy_ev"],
            energy_per_atom_ev=last["energy_per_atom_ev"],
            structure=structure,
        )


def _add_verdicts(
    records: Mapping[str, Doc], found: Mapping[str, Sequence[Doc]], levels: Sequence[str]
) -> None:
    """Apply verdicts in the order of the stages: the last one about a candidate counts."""

    def stage(doc: Doc) -> int:
        level = doc["output"].get("before_level")
        return levels.index(level) if level in levels else len(levels)

    docs = sorted([*found["screening"], *found["classification"]], key=stage)
    for doc in docs:
        for verdict in doc["output"]["verdicts"]:
            record = records.get(verdict["candidate_id"])
            if record is None:
                continue
            for key in ("state", "reason", "match", "match_label", "match_set", "rms"):
                record[key] = verdict[key]
            record["rms_angstrom"] = verdict.get("rms_angstrom")
            record["compared"] = verdict.get("compared")
            for key in ("smiles", "spacegroup"):
                # What an earlier stage found stays if a later one could not tell.
                record[key] = verdict[key] if verdict[key] is not None else record[key]


def _converged_energy(record: Doc) -> float | None:
    """Return the energy of the last relaxation, if it converged and compares with others."""
    last = record["relaxations"][-1] if record["relaxations"] else None
    if record["state"] == "failed":
        return None  # in pieces, or in a hole of the potential
    if last is None or last["state"] != "converged" or not last.get("comparable", True):
        return None
    return record["energy_ev"]


def _add_energies_above_min(records: Iterable[Doc]) -> None:
    lowest: dict[tuple[str, str], float] = {}
    energies = []
    for record in records:
        energy = _converged_energy(record)
        if energy is not None:
            key = (record["level"], record["formula"])
            lowest[key] = min(energy, lowest.get(key, energy))
            energies.append((record, key, energy))
    for record, key, energy in energies:
        record["energy_above_min_ev"] = energy - lowest[key]


def _add_energies_above_hull(records: Sequence[Doc], references: Sequence[Doc]) -> None:
    """Add energies above the hull of what was computed at the level of the references."""
    for level in {reference["level"] for reference in references}:
        entries = [
            HullEntry(f"reference {place}", reference["formula"], reference["energy_ev"])
            for place, reference in enumerate(references)
            if reference["level"] == level
            and reference["state"] == "converged"
            and reference.get("formula")
        ]
        mine = [r for r in records if r["level"] == level and r["kind"] == "crystal"]
        entries += [
            HullEntry(record["id"], record["formula"], energy)
            for record in mine
            if (energy := _converged_energy(record)) is not None
        ]
        above = above_hull(entries)
        for record in mine:
            record["energy_above_hull_ev_per_atom"] = above.get(record["id"])


def _material_id(record: Doc, records: Mapping[str, Doc]) -> str | None:
    """Return the id of the material that a candidate is, or became a duplicate of.

    A molecule is told by formula and SMILES, a known crystal by the known entry, a new
    crystal by its first candidate.
    """
    seen = set()
    while record["state"] == "duplicate" and record["match"] in records:
        if record["id"] in seen:
            return None  # verdicts of different stages can point at each other
        seen.add(record["id"])
        record = records[record["match"]]
    if record["state"] not in ("new", "rediscovered"):
        return None
    if record["smiles"] is not None:
        return content_id("mat", ["molecule", record["formula"], record["smiles"]])
    if record["state"] == "rediscovered" and record["match"] is not None:
        return content_id("mat", ["known", record["match"]])
    return content_id("mat", ["candidate", record["id"]])


def material(material_id: str, members: Sequence[Doc]) -> Doc | None:
    """Return the record of a material from all its candidates, of all campaigns.

    Returns:
        The record, or None if none of them is new or rediscovered (any more).
    """
    members = sorted(members, key=lambda doc: (doc["campaign_id"], doc["order"]))
    heads = [doc for doc in members if doc["state"] in ("new", "rediscovered")]
    if not heads:
        return None
    known = next((doc for doc in heads if doc["state"] == "rediscovered"), None)
    levels = {
        (doc["relaxations"][-1]["level_index"], doc["level"])
        for doc in members
        if _converged_energy(doc) is not None
    }
    level = max(levels)[1] if levels else None
    comparable = [
        doc for doc in members if doc["level"] == level and _converged_energy(doc) is not None
    ]
    best = min(comparable, key=lambda doc: doc["energy_ev"], default=heads[0])
    return {
        "id": material_id,
        "schema_version": RECORD_VERSION,
        "state": "rediscovered" if known is not None else "new",
        "formula": best["formula"],
        "kind": best["kind"],
        "smiles": heads[0]["smiles"],
        "spacegroup": best["spacegroup"] or heads[0]["spacegroup"],
        "best_candidate_id": best["id"],
        "level": level,
        "energy_ev": best["energy_ev"],
        "energy_per_atom_ev": best["energy_per_atom_ev"],
        "candidate_ids": [doc["id"] for doc in members],
        "campaign_ids": sorted({doc["campaign_id"] for doc in members}),
        "known_id": known["match"] if known is not None else None,
        "known_label": known["match_label"] if known is not None else None,
        "known_set_id": known["match_set"] if known is not None else None,
    }
