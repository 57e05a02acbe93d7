"""Checks before GPAW starts: functional, data sets, basis, processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from logan_campaign.relaxation.checks import atomic_number, refuse


def check_gpaw(
    where: str,
    species: Iterable[str],
    *,
    xc: str,
    basis: str | None,
    setups: str | Mapping[str, str] = "paw",
    setups_xc: str | None = None,
) -> None:
    """Check that GPAW is installed with the functional, the data sets and the basis.

    Args:
        where: names the level in the error.
        species: element symbols.
        xc: functional, GPAW's or libxc's name.
        basis: name of the LCAO basis; None for plane waves.
        setups: kind of PAW data set, for all or per element.
        setups_xc: functional of the data sets; None: chosen automatically.

    Raises:
        InputError: something is missing.
    """
    try:
        from gpaw.basis_data import Basis
        from gpaw.setup import create_setup

        from logan_campaign.relaxation.backends.gpaw import functionals
    except ImportError as err:
        refuse(
            where,
            f"GPAW cannot be imported ({err}); get it with `CC=g++ pip install gpaw gpaw-data` "
            "(needs libxc and BLAS) or `conda install -c conda-forge gpaw gpaw-data`",
        )
    species = list(species)
    try:
        functional = functionals.functional(xc, setups_xc)
    except Exception as err:  # noqa: BLE001 - GPAW raises NameError, ValueError, KeyError and more
        refuse(
            where,
            f"unknown functional {xc!r} ({' '.join(str(err).split())}); use LDA, PBE, … or libxc "
            "names such as GGA_X_PBE+GGA_C_PBE",
        )
    if reason := functionals.unusable(functional):
        refuse(where, f"functional {xc!r}: {reason}")
    for symbol in species:
        atomic_number(where, symbol)
        kind = setups if isinstance(setups, str) else setups.get(symbol, "paw")
        try:
            create_setup(symbol, functional, type=kind)
            if basis is not None:
                # 'sz(dzp)' uses part of the file of 'dzp'.
                Basis.find(symbol, basis.rpartition("(")[2].rstrip(")"))
        except FileNotFoundError as err:
            missing = str(err).strip().splitlines()[0].removeprefix("Could not find required ")
            refuse(
                where,
                f"GPAW has no {missing.rstrip('.')} for {symbol}{_functionals_with_data(symbol)}; "
                "get the data sets with `pip install gpaw-data` (or conda-forge's gpaw-data), "
                "or make your own with `gpaw dataset` and set GPAW_SETUP_PATH",
            )
        except (ValueError, RuntimeError, AssertionError, KeyError) as err:
            refuse(where, f"GPAW cannot use setup {kind!r}, basis {basis!r} for {symbol}: {err}")


def _functionals_with_data(symbol: str) -> str:
    from logan_campaign.relaxation.backends.gpaw.functionals import has_data_set

    found = [name for name in ("LDA", "PBE", "revPBE", "RPBE") if has_data_set(symbol, name)]
    return f" (available for {', '.join(found)})" if found else ""


def check_mpi(where: str, processes: int, *, one_k_point: bool) -> None:
    """Check that GPAW can run on a number of processes.

    Args:
        where: names the level in the error.
        processes: number of processes.
        one_k_point: whether plane waves at a single k-point are used, for which GPAW needs
            ScaLAPACK to distribute the matrices.

    Raises:
        InputError: more than one process is requested, but GPAW was built without MPI or
            ScaLAPACK, or there is no ``mpiexec``.
    """
    if processes == 1:
        return
    import shutil

    from gpaw import cgpaw
    from gpaw.utilities import compiled_with_sl

    if not cgpaw.have_mpi:
        refuse(
            where,
            f"processes: {processes} needs a GPAW built with MPI, which this one is not; set "
            "processes: 1, or install an MPI compiler (apt-get install libopenmpi-dev) and "
            "build GPAW anew: CC=mpic++ pip install --force-reinstall --no-deps "
            "--no-cache-dir --no-binary gpaw gpaw",
        )
    if one_k_point and not compiled_with_sl():
        refuse(
            where,
            f"processes: {processes} in plane waves at one k-point needs a GPAW built with "
            "ScaLAPACK, which this one is not; set processes: 1, or mode: lcao",
        )
    if shutil.which("mpiexec") is None:
        refuse(where, f"processes: {processes} needs mpiexec, which is not on the PATH")
