"""Geometry of structures: formulas, cells, bonds, molecular graphs, coordination, symmetry."""
