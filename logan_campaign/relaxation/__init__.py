"""Relaxation of candidates in levels, each in a state from a closed list.

``levels`` says what a level is and checks it before anything runs, ``run.relax`` relaxes
one structure at one level. The ionic loop itself (``engine``) knows ASE only, so that the
isolated worker process starts fast.
"""
