# Read by GPAW's setup.py (GPAW_CONFIG). Without it, a library that cannot be linked is
# left out with no more than a warning, and the calculator lacks its functionals or runs
# on slow loops; with it, the build fails.
import os

libraries = ["xc", "blas"]
noblas = False
nolibxc = False
if os.environ.get("WITH_FFTW"):  # else GPAW takes scipy's transforms: right, and slower
    libraries += ["fftw3"]
    fftw = True
