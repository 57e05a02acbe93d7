"""Potentials that are learned from the frames of relaxations."""
