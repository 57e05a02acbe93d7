"""Random structures, which need no training set."""
