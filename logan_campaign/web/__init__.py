"""Read-only HTTP servers."""
