"""Settings of potentials that are learned; without JAX, which specs do not need."""

from __future__ import annotations

from pydantic import Field

from logan_campaign.core.settings import SpecModel


class PotentialSettings(SpecModel):
    """Settings of a potential that is learned from relaxations."""

    r_cut: float = Field(4.0, gt=0.5, le=15, description="Cutoff radius (Å)")
    n_max: int = Field(5, ge=1, le=6, description="Resolution of the power spectra")
    zeta: int = Field(4, ge=1, le=8, description="Power of the kernel")
    n_inducing: int = Field(
        800, ge=1, le=5000, description="Largest number of inducing environments per species"
    )
    copies: int = Field(
        5, ge=0, le=20, description="Displaced copies of each frame that give inducing environments"
    )
    displacement: float = Field(
        0.1, gt=0, le=1, description="Standard deviation of their displacements (Å)"
    )
    max_frames: int = Field(
        100, ge=1, le=10_000, description="Largest number of frames to learn from; the last ones"
    )
    pair_scale: float = Field(2.0, gt=0, description="Prior standard deviation of pairs (eV)")
    scale: float = Field(
        1.0, gt=0, description="Prior standard deviation of an environment's energy (eV)"
    )
    energy_noise: float = Field(5e-4, gt=0, description="Noise of energies (eV/atom)")
    force_noise: float | None = Field(
        None, gt=0, description="Noise of forces (eV/Å); null: a fiftieth of the level's fmax"
    )
    growth: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Noise that grows with a frame's forces, as a share of their root mean square",
    )
