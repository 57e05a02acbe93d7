"""The command line: one file per group of commands."""

from logan_campaign.cli.app import main

__all__ = ["main"]
