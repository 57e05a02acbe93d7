"""GPAW: the level, its calculator, and the checks before it runs."""

from logan_campaign.relaxation.backends.gpaw.level import GPAWLevel, KPointDensity, Smearing

__all__ = ["GPAWLevel", "KPointDensity", "Smearing"]
