"""LoGAN: a Wasserstein GAN on local atomic descriptors (Kovács et al.)."""

from logan_campaign.generators.wgan.generation import critic_scores, generate
from logan_campaign.generators.wgan.model import FORMAT, LoganModel
from logan_campaign.generators.wgan.settings import ALGORITHM_VERSION, Hyperparameters, model_id
from logan_campaign.generators.wgan.training import HISTORY_KEYS, TrainingResult, can_start, train

__all__ = [
    "ALGORITHM_VERSION",
    "FORMAT",
    "HISTORY_KEYS",
    "Hyperparameters",
    "LoganModel",
    "TrainingResult",
    "can_start",
    "critic_scores",
    "generate",
    "model_id",
    "train",
]
