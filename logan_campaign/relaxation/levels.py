"""The built-in levels of relaxation, and how to parse one."""

from __future__ import annotations

from logan_campaign.relaxation.backends.ase import ASELevel
from logan_campaign.relaxation.backends.gpaw import GPAWLevel, KPointDensity, Smearing
from logan_campaign.relaxation.backends.xtb import XTBLevel
from logan_campaign.relaxation.base import (
    LEVELS,
    CalculatorLevel,
    Level,
    LevelSpec,
    OptimizerName,
    Setup,
)

__all__ = [
    "LEVELS",
    "ASELevel",
    "CalculatorLevel",
    "GPAWLevel",
    "KPointDensity",
    "Level",
    "LevelSpec",
    "OptimizerName",
    "Setup",
    "Smearing",
    "XTBLevel",
    "parse_level",
]

#: Return the level that plain data describe; raise pydantic.ValidationError if invalid.
parse_level = LEVELS.parse
