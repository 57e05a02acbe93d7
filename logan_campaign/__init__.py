"""Database-backed discovery campaigns for molecules and crystals with LoGAN."""

from importlib.metadata import version

__version__ = version("logan-campaign")
