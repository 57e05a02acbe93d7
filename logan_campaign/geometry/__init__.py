"""Structures as such: formulas, cells, bonds, molecular graphs, coordination, symmetry."""
