"""A campaign's definition: its spec, targets, rounds, verdicts and stability."""
