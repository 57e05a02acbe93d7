"""Jobs and Makers: thin wrappers that call the science and return documents."""

if __name__ != "logan_campaign.flows":
    # A Maker defined as `flows.x` would be serialised under that name, and a worker
    # without this folder on its path would silently decode it to a plain dictionary.
    raise ImportError(f"import this package as 'logan_campaign.flows', not as {__name__!r}")

from logan_campaign.core.lazy import lazy_exports

__getattr__, __dir__ = lazy_exports(__name__, __file__)
