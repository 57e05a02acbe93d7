"""Errors that a user can act on.

Anything derived from :class:`LoganCampaignError` is shown by the command line as
one line, without a traceback, and ends it with exit code 2.
"""

from __future__ import annotations


class LoganCampaignError(Exception):
    """Base of all errors raised on purpose; its message is one clear line."""


class InputError(LoganCampaignError):
    """Something the user gave (a spec, a file, an option) cannot be used."""


class StructureError(InputError):
    """A structure is unusable: unknown species, non-finite positions, colliding atoms."""


class StoreError(LoganCampaignError):
    """A store is not reachable, locked, from a newer version, or damaged."""


class ModelFileError(LoganCampaignError):
    """A model file is truncated, foreign or of an unknown version."""
