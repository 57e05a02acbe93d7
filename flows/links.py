"""References of the jobs of one round to those of earlier rounds."""

from __future__ import annotations

from typing import Any

from jobflow import Flow
from pydantic import BaseModel, ConfigDict, Field


class RoundLinks(BaseModel):
    """Uuids of the jobs of earlier rounds that the next round uses.

    Uuids instead of references: jobflow resolves a job's references, so the job could not pass
    them on.
    """

    model_config = ConfigDict(extra="forbid")

    training: str = Field(description="Job that pulled the training set; empty without one")
    known: list[str] = Field(description="Jobs that pulled the known sets")
    external: list[str] = Field(
        default_factory=list, description="Jobs that pulled candidates of other generators"
    )
    control: str = Field("", description="Job that wrote the control document")
    rounds: list[str] = Field(default_factory=list, description="Jobs that judged past rounds")
    phases: list[str] = Field(
        default_factory=list, description="Jobs that relaxed elements and competing phases"
    )
    models: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Jobs that trained the last models of each target; under 'all' those that "
        "serve all targets",
    )

    def after(self, judged_by: str, models: dict[str, list[str]]) -> RoundLinks:
        """Return the links with one more round and its models."""
        rounds, latest = [*self.rounds, judged_by], {**self.models, **models}
        return self.model_copy(update={"rounds": rounds, "models": latest})


class OpenFlow(Flow):
    """A flow whose jobs refer to outputs of jobs that ran before it was made.

    Jobflow has an option for this, which jobflow-remote does not use. jobflow-remote finds all
    outputs that a job refers to, whatever their flow.
    """

    @property
    def job_uuids(self) -> tuple[str, ...]:
        """Uuids of the jobs, and of outside jobs that they refer to."""
        inside = super().job_uuids
        outside = {
            uuid for member in self.jobs for uuid, _ in member.graph.edges() if uuid not in inside
        }
        return (*inside, *sorted(outside))

    def as_dict(self) -> dict[str, Any]:
        """Serialise as a plain Flow, to be decoded as one."""
        return {**super().as_dict(), "@module": Flow.__module__, "@class": Flow.__name__}
