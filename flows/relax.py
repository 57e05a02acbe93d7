"""Relaxation jobs: Makers based on atomate2's ASE Makers, one per kind of level.

``make`` relaxes one candidate at one level and always returns a document. States, budgets,
isolation and restarts are implemented in :mod:`logan_campaign.relaxation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from atomate2.ase.jobs import AseMaker, AseRelaxMaker
from atomate2.ase.schemas import AseResult
from jobflow import Job, OutputReference, Response, job
from pydantic import BaseModel, ConfigDict, Field
from pymatgen.core import Molecule, Structure

from logan_campaign.core import progress
from logan_campaign.core.arrays import pack_arrays, unpack_arrays
from logan_campaign.core.documents import DATA_KEYS, RelaxationDoc, RelaxationsDoc
from logan_campaign.core.errors import InputError
from logan_campaign.core.files import write_atomically
from logan_campaign.core.ids import content_id
from logan_campaign.flows.stages import placed, relaxation_of, stage
from logan_campaign.flows.tolerance import tolerant
from logan_campaign.geometry.molecules import perceive_smiles
from logan_campaign.geometry.structures import spacegroup_symbol, to_atoms
from logan_campaign.relaxation.levels import (
    ASELevel,
    CalculatorLevel,
    GPAWLevel,
    Level,
    Setup,
    XTBLevel,
    parse_level,
)
from logan_campaign.relaxation.run import RelaxationOutcome, relax, relaxation_key


class EarlierWork(BaseModel):
    """Passed from a relaxation job whose budget ended to its continuation."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    id: str = Field(description="Id of its document")
    attempt: int = Field(description="Index among the level's jobs, from 1")
    folder: str = Field(description="Folder with its trajectory and density")
    structure: Molecule | Structure = Field(description="Last geometry")
    n_steps: int = Field(description="Ionic steps so far")
    elapsed_s: float = Field(description="Wall time so far (s)")


@dataclass
class LevelRelaxMaker(AseRelaxMaker):
    """Relax one candidate at one level.

    The inherited ``relax_cell``, ``steps``, ``relax_kwargs`` and ``optimizer_kwargs`` are set from
    ``level``.

    Parameters
    ----------
    name : str
        The job name.
    level : Level
        Calculator, tolerances and budgets, also as a plain dictionary.
    """

    name: str = "relax"
    level: Level = field(default_factory=XTBLevel)

    def __post_init__(self) -> None:
        """Validate the level and set the inherited settings from it."""
        if isinstance(self.level, dict):
            self.level = parse_level({k: v for k, v in self.level.items() if not k.startswith("@")})
        self.relax_cell = self.level.relax_cell
        self.relax_shape = False
        if isinstance(self.level, CalculatorLevel):
            self.steps = self.level.max_steps
            self.relax_kwargs = {"fmax": self.level.fmax}
            self.optimizer_kwargs = {"optimizer": self.level.optimizer}
        super().__post_init__()

    def _get_calculator(self) -> Any:
        """Return the level's calculator for molecules; ``run_ase`` makes its own.

        Raises
        ------
        InputError
            if the level has none, because a Maker computes.
        """
        if not isinstance(self.level, CalculatorLevel):
            raise InputError(f"{self.level.where} has no ASE calculator")
        return self.level.make_calculator(to_atoms(_PLACEHOLDER), Setup())

    def run_ase(
        self, mol_or_struct: Structure | Molecule, prev_dir: str | Path | None = None
    ) -> AseResult:
        """Relax outside a job, with the level's isolation and budgets.

        Raises
        ------
        InputError
            if nothing could be computed.
        """
        outcome = relax(mol_or_struct, self.level, workdir=Path.cwd())
        return _ase_result(self.name, outcome)

    def check(self, structure: Molecule | Structure) -> None:
        """Raise InputError if this machine cannot run the level for the structure."""
        species = sorted({site.specie.symbol for site in structure})
        kind = "crystal" if isinstance(structure, Structure) else "molecule"
        self.level.check(species, kind)  # type: ignore[arg-type]

    @job(data=DATA_KEYS, output_schema=RelaxationDoc, metadata=stage("relax"))
    def make(
        self,
        candidate_id: str,
        structure: Molecule | Structure,
        campaign_id: str,
        level_index: int,
        before: EarlierWork | None = None,
        known: list[RelaxationDoc | None] | None = None,
    ) -> RelaxationDoc | Response:
        """Relax a candidate in the job's folder.

        Parameters
        ----------
        candidate_id : str
            The candidate.
        structure : Molecule | Structure
            Start: generated, or relaxed at the previous level.
        campaign_id : str
            The campaign.
        level_index : int
            Place of this level among the campaign's, from 0.
        before : EarlierWork | None
            State of a job with the same arguments whose budget ended.
        known : list[RelaxationDoc | None] | None
            Earlier relaxations that a level that learns learns from; None for jobs that died.

        Returns
        -------
        RelaxationDoc | Response
            The document, also of a failed relaxation. If the budget ended and the level
            allows continuations, the response adds a job that continues.
        """
        done = None if before is None else EarlierWork.model_validate(before)
        doc = self._relaxed(candidate_id, structure, campaign_id, level_index, done, known or ())
        progressed = doc.n_steps > (done.n_steps if done else 0)
        ended = doc.state == "not_converged" or (doc.state == "timed_out" and progressed)
        if not ended or doc.attempt > self.level.continuations:
            return doc
        further = self.make(
            candidate_id,
            structure,
            campaign_id,
            level_index,
            EarlierWork(
                id=doc.id,
                attempt=doc.attempt,
                folder=str(Path.cwd()),
                structure=doc.structure,
                n_steps=doc.n_steps,
                elapsed_s=doc.elapsed_s,
            ),
            known,
        )
        relaxation_of(further, candidate_id, self.level.name)
        return Response(output=doc, replace=placed(further))

    @job(data=DATA_KEYS, output_schema=RelaxationsDoc, metadata=stage("relax"))
    def make_many(
        self,
        starts: dict[str, Molecule | Structure],
        campaign_id: str,
        level_index: int,
        known: list[RelaxationDoc | None] | None = None,
    ) -> RelaxationsDoc:
        """Relax several candidates in sequence in the job's folder.

        Finished relaxations are kept there: a job that is restarted continues with the next one.

        Parameters
        ----------
        starts : dict[str, Molecule | Structure]
            Start of each candidate, by its id.
        campaign_id : str
            The campaign.
        level_index : int
            Place of this level among the campaign's, from 0.
        known : list[RelaxationDoc | None] | None
            As in ``make``; of the job's own, each learns from those before it as well.
        """
        found: list[RelaxationDoc] = []
        for done, (candidate_id, structure) in enumerate(starts.items()):
            progress.report("relaxed", done, len(starts))
            # by its id: jobs of several levels may share a folder
            kept = Path(f"{relaxation_id(candidate_id, structure, self.level)}.json")
            if kept.exists():
                found.append(RelaxationDoc.model_validate_json(kept.read_bytes()))
                continue
            earlier = [*(known or ()), *found]
            doc = self._relaxed(candidate_id, structure, campaign_id, level_index, known=earlier)
            write_atomically(kept, doc.model_dump_json().encode())
            found.append(doc)
        return RelaxationsDoc(relaxations=found)

    def _relaxed(
        self,
        candidate_id: str,
        structure: Molecule | Structure,
        campaign_id: str,
        level_index: int,
        done: EarlierWork | None = None,
        known: Iterable[RelaxationDoc | None] = (),
    ) -> RelaxationDoc:
        start, earlier_steps, earlier_s = structure, 0, 0.0
        folder = None
        if (
            done is not None
            and (Path(done.folder) / relaxation_key(structure, self.level)).is_dir()
        ):
            folder = done.folder
        elif done is not None:  # another machine, or files deleted: only the geometry is available
            start, earlier_steps, earlier_s = done.structure, done.n_steps, done.elapsed_s
        learned_from: dict[str, dict[str, np.ndarray]] = {}
        if self.level.learns:
            learned_from = _last(known, self.level.learns)
        arrays = list(learned_from.values())
        doc = relaxation_doc(
            relax(start, self.level, workdir=Path.cwd(), before=folder, known=arrays),
            start=structure,
            level=self.level,
            candidate_id=candidate_id,
            campaign_id=campaign_id,
            level_index=level_index,
            attempt=1 if done is None else done.attempt + 1,
            continues=None if done is None else done.id,
        )
        if about := doc.settings.get("surrogate"):
            about["learned_from"] = list(learned_from)
        doc.n_steps += earlier_steps
        doc.elapsed_s += earlier_s
        return doc


class Relaxing(NamedTuple):
    """Jobs that relax candidates."""

    jobs: list[Job]
    outputs: dict[str, OutputReference]
    """The relaxation of each candidate."""


def relaxing(
    maker: LevelRelaxMaker,
    starts: Mapping[str, Molecule | Structure],
    campaign_id: str,
    level_index: int,
    known: Sequence[OutputReference] = (),
) -> Relaxing:
    """Return jobs that relax candidates, in batches set by the level.

    Args:
        maker: The level's Maker.
        starts: Start of each candidate, by its id.
        campaign_id: Campaign.
        level_index: Place of the level among the campaign's, from 0.
        known: Earlier relaxations to learn from.
    """
    jobs, outputs = [], {}
    # nothing to learn from is no argument: jobs of other levels stay as they are
    learned: dict[str, Any] = {"known": list(known)} if known else {}
    for ids in batched(starts, maker.level.batch):
        if len(ids) == 1:
            [name] = ids
            one = maker.make(name, starts[name], campaign_id, level_index, **learned)
            jobs.append(_after(known, relaxation_of(one, name, maker.level.name)))
            outputs[name] = one.output
            continue
        group = {name: starts[name] for name in ids}
        many = maker.make_many(group, campaign_id, level_index, **learned)
        many.name = f"relax {maker.level.name} {len(ids)} candidates"
        about = {"level": maker.level.name, "candidates": list(ids)}
        many.update_metadata(about, dynamic=False)
        jobs.append(_after(known, many))
        outputs |= {name: many.output.relaxations[k] for k, name in enumerate(ids)}
    return Relaxing(jobs, outputs)


def _last(known: Iterable[RelaxationDoc | None], n: int) -> dict[str, dict[str, np.ndarray]]:
    """Return the trajectories of the last relaxations that have ``n`` frames together, by id."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for one in reversed(list(known)):
        if one is None or n <= 0:
            continue
        doc = RelaxationDoc.model_validate(one)
        if doc.trajectory is not None:
            found[doc.id] = unpack_arrays(doc.trajectory)
            n -= len(found[doc.id]["energy"])
    return dict(reversed(found.items()))


def _after(known: Sequence[OutputReference], relaxation: Job) -> Job:
    """Return a relaxation that also runs if one of those to learn from has died."""
    return tolerant(relaxation) if known else relaxation


def batched(names: Iterable[str], size: int) -> Iterator[tuple[str, ...]]:
    """Yield names in groups of similar size, at most ``size``."""
    names = list(names)
    n_groups = -(-len(names) // size)
    for k in range(n_groups):
        yield tuple(names[k * len(names) // n_groups : (k + 1) * len(names) // n_groups])


#: Placeholder for calculators that are made before their atoms are known; not periodic.
_PLACEHOLDER = Molecule(["H"], [[0.0, 0.0, 0.0]])


def relaxation_id(
    candidate_id: str, start: Molecule | Structure, level: Level, attempt: int = 1
) -> str:
    """Return the content id of one relaxation of a candidate."""
    identity = {"candidate": candidate_id, "relaxation": relaxation_key(start, level)}
    if attempt > 1:
        identity["attempt"] = str(attempt)
    return content_id("relax", identity)


def relaxation_doc(
    outcome: RelaxationOutcome,
    *,
    start: Molecule | Structure,
    level: Level,
    candidate_id: str,
    campaign_id: str,
    level_index: int,
    attempt: int = 1,
    continues: str | None = None,
) -> RelaxationDoc:
    """Return the document of one relaxation."""
    energy = outcome.energy_ev
    final = outcome.structure if energy is not None else None
    return RelaxationDoc(
        id=relaxation_id(candidate_id, start, level, attempt),
        candidate_id=candidate_id,
        campaign_id=campaign_id,
        level=level.name,
        level_index=level_index,
        state=outcome.state,
        reason=outcome.reason,
        calculator=level.calculator,
        settings={**level.model_dump(mode="json"), **outcome.notes},
        energy_ev=energy,
        energy_per_atom_ev=None if energy is None else energy / len(start),
        comparable=outcome.comparable,
        max_force_ev_per_angstrom=outcome.max_force,
        n_steps=outcome.n_steps,
        energies_ev=outcome.energies_ev,
        elapsed_s=outcome.elapsed_s,
        cpu_s=outcome.cpu_s,
        attempt=attempt,
        continues=continues,
        structure=outcome.structure,
        smiles=perceive_smiles(final) if isinstance(final, Molecule) else None,
        spacegroup=spacegroup_symbol(final) if isinstance(final, Structure) else None,
        stress_ev_per_angstrom3=outcome.stress,
        data_sets={} if final is None else level.data_sets(site.specie.symbol for site in final),
        trajectory=None if outcome.trajectory is None else pack_arrays(outcome.trajectory),
    )


def _ase_result(name: str, outcome: RelaxationOutcome) -> AseResult:
    if outcome.energy_ev is None:
        raise InputError(f"{name}: {outcome.state}: {outcome.reason}")
    return AseResult(
        final_mol_or_struct=outcome.structure,
        final_energy=outcome.energy_ev,
        converged=outcome.state == "converged",
        is_force_converged=outcome.state == "converged",
        energy_downhill=outcome.energies_ev[-1] <= outcome.energies_ev[0],
        dir_name=str(Path.cwd()),
        elapsed_time=outcome.elapsed_s,
    )


@dataclass
class XTBRelaxMaker(LevelRelaxMaker):
    """Relax a molecule with GFN2-xTB (tblite)."""

    name: str = "GFN2-xTB relaxation"
    level: XTBLevel = field(default_factory=XTBLevel)


@dataclass
class GPAWRelaxMaker(LevelRelaxMaker):
    """Relax a molecule or crystal with GPAW, in a separate process."""

    name: str = "GPAW relaxation"
    level: GPAWLevel = field(default_factory=GPAWLevel)

    @classmethod
    def from_preset(cls, preset: str, **changes: Any) -> GPAWRelaxMaker:
        """Return the Maker of a preset ('paper', 'screening', 'production'), with changes."""
        return cls(level=GPAWLevel.from_preset(preset, **changes))


@dataclass
class ASECalculatorRelaxMaker(LevelRelaxMaker):
    """Relax with any ASE calculator, named by ``module:function`` or entry point."""

    name: str = "ASE relaxation"
    level: ASELevel = field(default_factory=lambda: ASELevel(target="ase.calculators.emt:EMT"))


def maker_for(level: Level) -> LevelRelaxMaker:
    """Return the Maker of a level, named after it."""
    return LevelRelaxMaker(name=f"relax {level.name}", level=level)


@dataclass
class GPAWStaticMaker(AseMaker):
    """Energy of one structure with GPAW, in a separate process.

    ``make(mol_or_struct)`` is inherited from atomate2 and returns atomate2's document.

    Parameters
    ----------
    name : str
        The job name.
    level : GPAWLevel
        Settings; those of ionic steps are ignored.
    """

    name: str = "GPAW static"
    level: GPAWLevel = field(default_factory=GPAWLevel)

    def __post_init__(self) -> None:
        """Validate the level."""
        if isinstance(self.level, dict):
            settings = {k: v for k, v in self.level.items() if not k.startswith("@")}
            self.level = GPAWLevel.model_validate(settings)
        super().__post_init__()

    @classmethod
    def from_preset(cls, preset: str, **changes: Any) -> GPAWStaticMaker:
        """Return the Maker of a preset ('paper', 'screening', 'production'), with changes."""
        return cls(level=GPAWLevel.from_preset(preset, **changes))

    def _get_calculator(self) -> Any:
        """Return the calculator; ``run_ase`` makes its own in the worker process."""
        return self.level.make_calculator(to_atoms(_PLACEHOLDER), Setup())

    def run_ase(
        self, mol_or_struct: Structure | Molecule, prev_dir: str | Path | None = None
    ) -> AseResult:
        """Compute the energy.

        Raises
        ------
        InputError
            if the calculation failed.
        """
        level = self.level.model_copy(update={"max_steps": 0, "relax_cell": False})
        return _ase_result(self.name, relax(mol_or_struct, level, workdir=Path.cwd()))
