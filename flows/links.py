"""How the jobs of one round refer to those of the rounds before."""

from __future__ import annotations

from typing import Any

from jobflow import Flow
from pydantic import BaseModel, ConfigDict, Field


class RoundLinks(BaseModel):
    """Which jobs of earlier rounds the next one builds on, by their uuids.

    Uuids and no references: a job gets what its references stand for, and could not pass
    them on.
    """

    model_config = ConfigDict(extra="forbid")

    training: str = Field(description="Job that pulled the training set")
    known: list[str] = Field(description="Jobs that pulled the known sets")
    control: str = Field("", description="Job that wrote the control document")
    rounds: list[str] = Field(default_factory=list, description="Jobs that judged past rounds")
    models: dict[str, list[str]] = Field(
        default_factory=dict, description="Jobs that trained the last models of each target"
    )

    def after(self, judged_by: str, target: int, models: list[str]) -> RoundLinks:
        """Return the links with one more round."""
        rounds, latest = [*self.rounds, judged_by], {**self.models, str(target): models}
        return self.model_copy(update={"rounds": rounds, "models": latest})


class OpenFlow(Flow):
    """A flow whose jobs refer to outputs of jobs that have run before it was made.

    Jobflow asks whether that is meant, jobflow-remote takes for granted that it is not. It
    finds all outputs that a job refers to, wherever they come from.
    """

    @property
    def job_uuids(self) -> tuple[str, ...]:
        """Uuids of the jobs, and of those outside that they refer to."""
        inside = super().job_uuids
        outside = {
            uuid for member in self.jobs for uuid, _ in member.graph.edges() if uuid not in inside
        }
        return (*inside, *sorted(outside))

    def as_dict(self) -> dict[str, Any]:
        """Return the form of a plain Flow, which is what others shall make of it."""
        return {**super().as_dict(), "@module": Flow.__module__, "@class": Flow.__name__}
