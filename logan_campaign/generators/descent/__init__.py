"""Generation by descent of random coordinates to the environments of the training set."""

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
