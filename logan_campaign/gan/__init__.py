"""LoGAN: a Wasserstein GAN on local atomic descriptors."""

from logan_campaign.gan.cache import enable_compilation_cache
from logan_campaign.gan.generation import GeneratedPool, critic_scores, generate
from logan_campaign.gan.model import FORMAT, LoganModel, file_kind
from logan_campaign.gan.postprocessing import check_symmetry
from logan_campaign.gan.settings import (
    ALGORITHM_VERSION,
    Hyperparameters,
    LatticeKind,
    Symmetry,
    Target,
    model_id,
)
from logan_campaign.gan.training import HISTORY_KEYS, TrainingResult, can_start, train

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
