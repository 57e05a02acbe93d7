"""Generators of structures: the networks of the paper (wgan), descent, and chance."""
