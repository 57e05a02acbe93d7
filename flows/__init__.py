"""Jobs and Makers: thin wrappers that call the science and return documents."""

if __name__ != "logan_campaign.flows":
    # A Maker defined as `flows.x` would be serialised under that name, and a worker
    # without this folder on its path would silently decode it to a plain dictionary.
    raise ImportError(f"import this package as 'logan_campaign.flows', not as {__name__!r}")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logan_campaign.flows.campaign import CampaignMaker

__all__ = ["CampaignMaker"]


def __getattr__(name: str) -> Any:
    # imported on first use: the local runner needs this package but not JAX and RDKit
    if name == "CampaignMaker":
        from logan_campaign.flows.campaign import CampaignMaker

        return CampaignMaker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
