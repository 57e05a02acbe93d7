"""LoGAN: a Wasserstein GAN on local atomic descriptors (Kovács et al.)."""

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
