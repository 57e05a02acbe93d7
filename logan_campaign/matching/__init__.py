"""When two crystals are the same, by lattice and sites; what both kinds are matched by."""

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
