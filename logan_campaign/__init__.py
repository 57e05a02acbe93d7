"""Database-backed discovery campaigns for molecules and crystals with LoGAN."""

from typing import Any

from logan_campaign.core.lazy import lazy_exports

_offered, __dir__ = lazy_exports(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("logan-campaign")
    return _offered(name)
