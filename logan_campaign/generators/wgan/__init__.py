"""LoGAN: a Wasserstein GAN on local atomic descriptors."""

from logan_campaign.generators.cells import check_symmetry
from logan_campaign.generators.wgan.cache import enable_compilation_cache
from logan_campaign.generators.wgan.generation import GeneratedPool, critic_scores, generate
from logan_campaign.generators.wgan.model import FORMAT, LoganModel, file_kind
from logan_campaign.generators.wgan.settings import (
    ALGORITHM_VERSION,
    Hyperparameters,
    LatticeKind,
    Symmetry,
    Target,
    model_id,
)
from logan_campaign.generators.wgan.training import HISTORY_KEYS, TrainingResult, can_start, train

__all__ = [
    "ALGORITHM_VERSION",
    "FORMAT",
    "HISTORY_KEYS",
    "GeneratedPool",
    "Hyperparameters",
    "LatticeKind",
    "LoganModel",
    "Symmetry",
    "Target",
    "TrainingResult",
    "can_start",
    "check_symmetry",
    "critic_scores",
    "enable_compilation_cache",
    "file_kind",
    "generate",
    "model_id",
    "train",
]
