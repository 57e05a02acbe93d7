"""Documents of trained models and of what they generated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from logan_campaign.core.documents.base import Blob, Document, Part, TargetKind


class TrainingHistory(Part):
    """Diagnostics of one model over its training; all lists have one length."""

    step: list[int] = Field(description="Generator updates done at each record")
    generator_loss: list[float] = Field(description="E[C(G(z))] (paper eq. 4)")
    critic_loss: list[float] = Field(description="E[C(x) - C(G(z))] (paper eq. 5)")
    penalty: list[float] = Field(description="Gradient penalty (paper eq. 6)")
    wasserstein: list[float] = Field(description="Estimate E[C(G(z))] - E[C(x)]")
    critic_gradient_norm: list[float] = Field(description="Mean norm of the critic's gradient")
    distinct_share: list[float] = Field(description="Share of distinct structures among samples")


class ModelFields(Part):
    """What documents and records say of a trained member of an ensemble."""

    id: str = Field(description="Content id of inputs, seed and algorithm version ('model-…')")
    index: int = Field(description="Position in the ensemble, from 0")
    round: int = Field(0, description="Round of the campaign, from 0")
    state: Literal["trained", "failed"] = Field(description="Whether it can generate")
    reason: str = Field(description="Why it failed and what to do; empty if it did not")
    training_set_id: str = Field(description="Set it was trained on")
    start_id: str | None = Field(None, description="Model whose weights it went on from, if any")
    algorithm_version: int = Field(description="Raised by hand when results change")
    seed: int = Field(description="Seed of weights, resampling and latents")
    formula: str = Field(description="Hill formula it generates")
    hyperparameters: dict[str, Any] = Field(description="Everything that can be set, resolved")
    steps: int = Field(description="Generator updates done")
    history: TrainingHistory = Field(description="Diagnostics over the training")
    elapsed_s: float = Field(description="Wall time of the training (s)")
    device: str = Field(description="Device it was trained on, e.g. 'cpu'")


class ModelDoc(ModelFields, Document):
    """One trained member of the ensemble."""

    doc_type: Literal["model"] = "model"
    weights: Blob[str] = Field(
        description="safetensors file as base64 text (blob); empty if failed"
    )


class PoolFields(Part):
    """What documents and records say of the structures that one model generated."""

    id: str = Field(description="Content id of model, seed and number ('pool-…')")
    seed: int = Field(description="Seed of the latent vectors")
    n_structures: int = Field(description="How many structures it holds")
    elapsed_s: float = Field(description="Wall time of the generation (s)")


class PoolDoc(PoolFields, Document):
    """What one model generated."""

    doc_type: Literal["pool"] = "pool"
    model_id: str = Field(description="Model that generated it")
    formula: str = Field(description="Hill formula")
    symbols: list[str] = Field(description="Element of each atom, the same for all")
    kind: TargetKind = Field(description="Molecule in a box or crystal in a cell")
    pool: Blob[str] = Field(
        description="Packed arrays (blob): positions (n, n_atoms, 3) float32 Å, cell (n, 3, 3) Å"
    )
