from logan_campaign.generators.wgan.generation import critic_scores as critic_scores
from logan_campaign.generators.wgan.generation import generate as generate
from logan_campaign.generators.wgan.model import LoganModel as LoganModel
from logan_campaign.generators.wgan.settings import Hyperparameters as Hyperparameters
from logan_campaign.generators.wgan.training import can_start as can_start
from logan_campaign.generators.wgan.training import train as train
