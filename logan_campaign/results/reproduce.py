"""Make a candidate again from what the store holds, and compare.

A candidate's raw structure follows from its model's weights, the seed of the pool and its
place there; a model's weights follow from the training set, the hyperparameters and the
seed. On the platform and with the versions that made them, both come out equal to the last
bit; elsewhere a compiler may order sums in another way, and :func:`reproduce` says what is
not as it was.

How many threads a process has is part of that: jobs of campaigns have one, and
:mod:`~logan_campaign.results.apart` starts such a process.
"""

from __future__ import annotations

import time

import numpy as np
from pydantic import BaseModel, Field

from logan_campaign.core.errors import InputError
from logan_campaign.core.software import software_versions
from logan_campaign.descriptors.cache import enable_compilation_cache
from logan_campaign.generators import models
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.results.campaign import Results
from logan_campaign.stores.records import CandidateRecord, ModelRecord, PoolRecord


class Difference(BaseModel):
    """Something that was otherwise when the candidate was made."""

    what: str = Field(description="A package, 'python', 'platform' or 'device'")
    job: str = Field(description="Job that recorded it: 'training' or 'generation'")
    recorded: str | None = Field(description="Then; None if it was not there or not recorded")
    here: str | None = Field(description="Now; None if it is not there")


class Comparison(BaseModel):
    """Something made again, beside what is stored."""

    equal: bool = Field(description="Equal to the last bit")
    max_deviation: float = Field(
        description="Largest difference of any number: of positions and cell (Å), or of weights"
    )
    elapsed_s: float = Field(description="Wall time (s)")


class Reproduction(BaseModel):
    """What came of making a candidate again."""

    candidate_id: str = Field(description="Candidate")
    model_id: str = Field(description="Model that generated it")
    training_set_id: str | None = Field(description="Set that the model was trained on, if any")
    pool_id: str = Field(description="Pool that it was picked from")
    sample_index: int = Field(description="Its place in the pool")
    pool_seed: int = Field(description="Seed of the latent vectors")
    structure: Comparison = Field(description="Generated from the stored weights, or retrained")
    training: Comparison | None = Field(description="Weights of a model trained anew, if asked for")
    differences: list[Difference] = Field(description="What was otherwise then")
    reproduced: bool = Field(description="Whether all that was compared is equal")


def reproduce(results: Results, candidate_id: str, *, retrain: bool = False) -> Reproduction:
    """Generate a candidate's raw structure again and compare it with the stored one.

    This process trains and generates; for bits that are those of a campaign's job, see
    :func:`~logan_campaign.results.apart.reproduce_apart`.

    Args:
        results: store that holds it.
        candidate_id: its id or the beginning of it.
        retrain: train its model again, too, and generate from the new weights.

    Raises:
        InputError: if there is no such candidate, or its model or pool are not there.
        ModelFileError: if the stored weights are of another version of the algorithm.
        StoreError: if the store does not hold what is needed.
    """
    record = results.candidate(candidate_id)
    model_record = results.database.model(record.model_id)
    if model_record.state == "external":
        raise InputError(f"{record.id} was brought ({record.origin}), not generated here")
    pool_record = _pool(model_record, record.pool_id)
    enable_compilation_cache()
    model = results.load_model(model_record.id)
    training = None
    if retrain:
        model, training = _trained_again(results, model_record, model)
    structure = _generated_again(results, model, record, pool_record)
    return Reproduction(
        candidate_id=record.id,
        model_id=model_record.id,
        training_set_id=model_record.training_set_id,
        pool_id=record.pool_id,
        sample_index=record.sample_index,
        pool_seed=pool_record.seed,
        structure=structure,
        training=training,
        differences=_differences(model_record, pool_record, retrain),
        reproduced=structure.equal and (training is None or training.equal),
    )


def _pool(model: ModelRecord, pool_id: str) -> PoolRecord:
    found = next((pool for pool in model.pools if pool.id == pool_id), None)
    if found is None:
        raise InputError(f"{model.id} has no pool {pool_id}: build the campaign database anew")
    return found


def _generated_again(
    results: Results, model: models.Model, record: CandidateRecord, pool: PoolRecord
) -> Comparison:
    started = time.perf_counter()
    made = model.generate(record.sample_index + 1, seed=pool.seed)
    positions, cell = made.positions[-1], made.cells[-1]
    stored = results.pool(pool.id)
    if record.sample_index >= len(stored):
        raise InputError(f"{pool.id} has no structure {record.sample_index}")
    then = stored.positions[record.sample_index]
    equal = np.array_equal(positions, then) and np.array_equal(
        cell, stored.cells[record.sample_index]
    )
    deviation = _deviation(positions, then)
    if stored.periodic:
        deviation = max(deviation, _deviation(cell, stored.cells[record.sample_index]))
    return Comparison(
        equal=bool(equal), max_deviation=deviation, elapsed_s=time.perf_counter() - started
    )


def _trained_again(
    results: Results, record: ModelRecord, stored: models.Model
) -> tuple[models.Model, Comparison]:
    if record.training_set_id is None:
        raise InputError(f"{record.id} was not trained: its method needs no training")
    started = time.perf_counter()
    # in the order in which a campaign trains
    entries = sorted(results.structures(record.training_set_id), key=lambda entry: entry.id)
    start = None if record.start_id is None else results.load_model(record.start_id)
    result = models.settings_from(record.hyperparameters).train(
        [to_atoms(entry.structure) for entry in entries],
        stored.target,
        seed=record.seed,
        training_set_id=record.training_set_id,
        start=start,
    )
    if result.model is None:
        raise InputError(f"{record.id} cannot be trained again: {result.reason}")
    arrays, then = result.model.arrays(), stored.arrays()
    pairs = [(arrays[name], then[name]) for name in then]
    return result.model, Comparison(
        equal=all(np.array_equal(new, old) for new, old in pairs),
        max_deviation=max(_deviation(new, old) for new, old in pairs),
        elapsed_s=time.perf_counter() - started,
    )


def _deviation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(np.asarray(one, float) - np.asarray(other, float)), initial=0.0))


#: What the weights and the structures that they generate depend on.
_MATTERS = ("python", "logan-campaign", "jax", "jaxlib", "optax", "numpy", "ase", "platform")


def _differences(model: ModelRecord, pool: PoolRecord, retrain: bool) -> list[Difference]:
    import jax

    here = software_versions()
    jobs = {"training": model.source.software} if retrain else {}
    jobs["generation"] = pool.source.software
    found = [
        Difference(what=what, job=job, recorded=then.get(what), here=here.get(what))
        for job, then in jobs.items()
        for what in _MATTERS
        if then.get(what) != here.get(what)
    ]
    if model.device != jax.default_backend():
        found.append(
            Difference(
                what="device", job="training", recorded=model.device, here=jax.default_backend()
            )
        )
    return found


def describe(found: Reproduction) -> list[str]:
    """Return what came of it in lines for people."""
    lines = []
    if found.training is not None:
        lines.append(
            f"trained again in {found.training.elapsed_s:.0f} s: {found.model_id} "
            + _verdict(found.training, "weights", "")
        )
    lines.append(
        f"generated again: {found.candidate_id}, sample {found.sample_index} of {found.pool_id}, "
        + _verdict(found.structure, "positions", " Å")
    )
    lines += [
        f"otherwise at {d.job}: {d.what} {d.recorded or 'not recorded'}, here {d.here or 'none'}"
        for d in found.differences
    ]
    if not found.reproduced and not found.differences:
        lines.append("versions, platform and device are those that were recorded")
    return lines


def _verdict(comparison: Comparison, what: str, unit: str) -> str:
    if comparison.equal:
        return "is equal to the last bit"
    return f"differs: {what} by up to {comparison.max_deviation:.3g}{unit}"
