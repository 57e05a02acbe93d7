"""Errors that a user can act on.

The command line shows errors derived from :class:`LoganCampaignError` as one line, without a
traceback, and exits with code 2.
"""

from __future__ import annotations


class LoganCampaignError(Exception):
    """Base of all errors raised on purpose, with a one-line message."""


class InputError(LoganCampaignError):
    """User input (a spec, a file, an option) is unusable."""


class StructureError(InputError):
    """A structure is unusable: unknown species, non-finite positions, colliding atoms."""


class StoreError(LoganCampaignError):
    """A store is unreachable, locked, from a newer version, or damaged."""


class ModelFileError(LoganCampaignError):
    """A model file is truncated, of another kind, or of an unknown version."""
