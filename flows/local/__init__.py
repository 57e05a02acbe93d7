"""Run flows on this machine: parallel processes, progress, resume after interruptions."""

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
