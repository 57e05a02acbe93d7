"""Structures without a generator: coordinates descend to the training set's environments."""

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
