"""Calculators of energies and forces: one module or folder per kind of level."""
