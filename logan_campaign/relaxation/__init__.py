"""Relaxation of candidates in levels; every relaxation ends in a state from a closed list.

``levels`` defines levels and checks them before anything runs; ``run.relax`` relaxes one
structure at one level. The ionic loop (``engine``) imports only ASE, so that isolated worker
processes start fast.
"""
