"""The methods section of a report, from the spec and the recorded versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from logan_campaign.stores.records import CampaignRecord, ModelRecord, TrainingSetRecord


def methods(
    record: CampaignRecord, models: Sequence[ModelRecord], sets: Sequence[TrainingSetRecord]
) -> list[str]:
    """Return the paragraphs: training set and models, selection and matching, relaxation."""
    paragraphs = [
        _training(record, models, sets),
        _selection(record, sets),
        _relaxation(record),
        _software(record, models),
    ]
    return [text for text in paragraphs if text]


def _training(
    record: CampaignRecord, models: Sequence[ModelRecord], sets: Sequence[TrainingSetRecord]
) -> str:
    training = [s for s in sets if s.id in record.training_set_ids]
    data = "; ".join(
        f"{s.n_structures} structures ({', '.join(s.formulas)}) from {_source(s)}" for s in training
    )
    text = f"{_noun(record).capitalize()} of composition {record.formula} were searched for"
    networks = [m for m in models if m.hyperparameters.get("method", "wgan") == "wgan"]
    kind = "environments of" if models and not networks else "LoGAN models trained on"
    text += f" with {kind} {data}." if data else "."
    text += _cells(record.spec.get("target", {}))
    if not models:
        return text
    fixed, varied = _shared(models)
    text += _networks(networks, fixed) if networks else _descents(models, fixed)
    names = {
        "radial": "radial basis",
        "r_cut": "cutoff radius (Å)",
        "n_max": "n_max",
        "n_neighbour": "neighbours",
        "rattle_copies": "rattled copies per structure",
        "rattle_stdev": "rattling (Å)",
    }
    told = [f"{title} {_number(fixed[key])}" for key, title in names.items() if key in fixed]
    text += f" Local descriptors and training data: {', '.join(told)}."
    if varied:
        ranges = "; ".join(
            f"{names.get(key, key)} {', '.join(_number(value) for value in values)}"
            for key, values in varied.items()
        )
        text += f" Members differ in {ranges} and in their seeds."
    failed = sum(model.state == "failed" for model in models)
    if failed:
        text += f" {failed} of them failed and were left out."
    return text


def _cells(target: dict[str, Any]) -> str:
    """Describe the origin of cells and space groups; '' for a given cell."""
    cell, volume = target.get("cell"), target.get("volume_per_atom")
    text = {
        "drawn": " Cells were drawn at random",
        "learned": " Cells were generated together with the positions",
    }.get(cell if isinstance(cell, str) else "", "")
    if text and volume:
        text += f", of {_number(volume[0])} to {_number(volume[1])} Å³ per atom"
    elif text:
        text += ", of volumes per atom as in the training set, extended by up to 10 %"
    text += "." if text else ""
    symmetry = target.get("symmetry")
    if symmetry:
        groups = symmetry.get("groups", "training")
        told = (
            "those of the training set"
            if groups == "training"
            else ", ".join(str(group) for group in groups)
        )
        text += f" Atoms stood on Wyckoff positions of prescribed space groups ({told})."
    return text


def _networks(models: Sequence[ModelRecord], fixed: dict[str, Any]) -> str:
    steps = sorted({model.steps for model in models})
    rounds = {model.round for model in models}
    return (
        f" An ensemble of {len(models)} Wasserstein GANs with gradient penalty was trained"
        f"{f' in {len(rounds)} rounds' if len(rounds) > 1 else ''} for "
        f"{' to '.join(f'{n:,}' for n in dict.fromkeys((steps[0], steps[-1])))} generator updates"
        f" each ({fixed.get('critic_updates', '?')} critic and "
        f"{fixed.get('penalty_updates', '?')} gradient-penalty updates per generator update, "
        f"batches of {fixed.get('batch_size', '?')}, learning rate "
        f"{_number(fixed.get('learning_rate', '?'))})."
    )


def _descents(models: Sequence[ModelRecord], fixed: dict[str, Any]) -> str:
    shown = {key: _number(fixed.get(key, "?")) for key in _DESCENT}
    return (
        f" Structures were made by descent, {len(models)} sets of reference environments in turn: "
        "coordinates placed at random were moved by Adam until the power spectrum of every atom "
        "was near those of atoms of the same species in the training set (Gaussian kernels of "
        f"width {shown['first_bandwidth']} falling to {shown['last_bandwidth']} standard "
        f"deviations, {shown['descent_steps']} steps); the share {shown['keep']} of the descents "
        "that ended nearest was kept."
    )


_DESCENT = ("first_bandwidth", "last_bandwidth", "descent_steps", "keep")


def _noun(record: CampaignRecord) -> str:
    return "molecules" if record.kind == "molecule" else "crystals"


def _source(used: TrainingSetRecord) -> str:
    origin = used.origin
    if origin is None:
        return used.name
    extra = (origin.version, origin.licence and f"licence {origin.licence}")
    told = ", ".join(part for part in extra if part)
    return origin.name + (f" ({told})" if told else "")


def _shared(models: Sequence[ModelRecord]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the hyperparameters that all models share, and the values of those that differ."""
    fixed, varied = {}, {}
    for key in models[0].hyperparameters:
        values: list[Any] = []
        for model in models:
            value = model.hyperparameters.get(key)
            if value not in values:
                values.append(value)
        if len(values) == 1:
            fixed[key] = values[0]
        else:
            varied[key] = values
    return fixed, varied


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _selection(record: CampaignRecord, sets: Sequence[TrainingSetRecord]) -> str:
    if not record.selections:
        return ""
    generated = sum(s.n_generated for s in record.selections)
    unusable = sum(sum(s.n_unusable.values()) for s in record.selections)
    picked = sum(s.n_candidates for s in record.selections)
    strategies = ", ".join(dict.fromkeys(s.strategy for s in record.selections))
    text = (
        f"Of {generated:,} generated structures {unusable:,} were rejected as implausible; "
        f"{picked:,} were picked for relaxation by the strategy '{strategies}'"
    )
    settings = record.selections[0].settings
    steps = settings if isinstance(settings, list) else [settings]
    shown = "; ".join(
        ", ".join(
            f"{key} {_number(value)}"
            for key, value in step.items()
            if isinstance(value, str | int | float) and key != "strategy"
        )
        for step in steps
    )
    text += f" ({shown})." if shown else "."
    match = record.spec.get("match", {})
    if record.kind == "molecule":
        text += (
            " Molecules were perceived from the relaxed geometry with RDKit and distinguished by "
            f"their {'canonical SMILES' if match.get('identity') == 'smiles' else 'graph'}."
        )
    else:
        text += (
            " Crystals were compared with pymatgen's StructureMatcher at "
            f"{match.get('tolerance', 'default')} tolerances."
        )
    known = [s for s in sets if s.id in record.known_set_ids]
    if known:
        told = "; ".join(f"{s.n_structures} structures from {_source(s)}" for s in known)
        text += (
            " 'New' means equal to no training structure and to none of the known structures "
            f"({told})."
        )
    else:
        text += " 'New' means equal to no training structure."
    return text


def _relaxation(record: CampaignRecord) -> str:
    levels = record.spec.get("relax", {}).get("levels", [])
    if not levels:
        return ""
    told = []
    for level in levels:
        method = _method(level, record.kind)
        cell = "with its cell" if level.get("relax_cell") else "at fixed cell"
        cell = "" if record.kind == "molecule" else f" {cell}"
        how = ""
        if "max_steps" in level:  # a Maker has settings of its own
            how = f" by {level.get('optimizer')} to {_number(level.get('fmax'))} eV/Å in at most "
            how += f"{level['max_steps']:,} steps"
        told.append(f"level '{level.get('name')}' with {method}{cell}{how}")
    return f"Candidates were relaxed at {', then '.join(told)}."


def _method(level: dict[str, Any], kind: str) -> str:
    if level.get("calculator") != "gpaw":
        calculator = str(level.get("calculator"))
        names = {"gfn2-xtb": "GFN2-xTB (tblite)", "gfn1-xtb": "GFN1-xTB (tblite)"}
        return (
            str(level.get("target")) if calculator == "maker" else names.get(calculator, calculator)
        )
    basis = {
        "pw": f"plane waves up to {_number(level.get('ecut_ev'))} eV",
        "lcao": f"the {level.get('basis')} basis of atomic orbitals",
        "fd": f"a real-space grid of {_number(level.get('grid_spacing_angstrom'))} Å",
    }.get(str(level.get("mode")), str(level.get("mode")))
    text = f"GPAW ({level.get('xc')}, {basis}"
    if kind == "crystal":
        kpts = level.get("kpts")
        text += (
            f", k-points {'×'.join(str(k) for k in kpts)}"
            if isinstance(kpts, list)
            else f", k-point density {_number((kpts or {}).get('density'))} Å"
        )
    else:
        text += f", {_number(level.get('vacuum_angstrom'))} Å of vacuum"
    return text + ")"


def _software(record: CampaignRecord, models: Sequence[ModelRecord]) -> str:
    versions = dict(record.source.software)
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = f"The campaign '{record.name}' ({record.id}, seed {record.seed})"
    text += f" was run with {told}." if told else " names no software."
    devices = sorted({model.device for model in models})
    if devices:
        text += f" Models were trained on {', '.join(devices)}."
    return text
