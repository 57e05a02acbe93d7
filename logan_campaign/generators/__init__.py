"""Generators of structures: the networks of the paper (wgan) and descent."""
