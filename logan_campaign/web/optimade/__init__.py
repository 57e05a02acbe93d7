"""OPTIMADE over the campaign database: candidates as ``structures``."""

from logan_campaign.web.optimade.app import optimade_app

__all__ = ["optimade_app"]
