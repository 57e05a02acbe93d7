"""Local atomic descriptors: invariant under rotation, translation and like-atom exchange."""

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
