"""Stores, builders and queries: the only part of the package that opens databases."""

if __name__ != "logan_campaign.stores":
    # See flows/__init__.py: documents must carry import names that exist everywhere.
    raise ImportError(f"import this package as 'logan_campaign.stores', not as {__name__!r}")
