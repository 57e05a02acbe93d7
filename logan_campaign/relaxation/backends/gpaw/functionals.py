"""Which PAW data sets go with which functional.

GPAW looks for data sets that are called after the functional, and there are such for LDA,
PBE, revPBE and RPBE only. For any other functional of libxc it needs to be told which to
take; the frozen core and the projectors are then those of a neighbouring functional, a usual
approximation whose error is that of the core's response.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import cache
from typing import Any

#: Other names of functionals that have data sets of their own.
_ALIASES = {
    "LDA_X+LDA_C_PW": "LDA",
    "GGA_X_PBE+GGA_C_PBE": "PBE",
    "GGA_X_PBE_R+GGA_C_PBE": "revPBE",
    "GGA_X_RPBE+GGA_C_PBE": "RPBE",
}
#: Meta-GGAs that GPAW computes itself. Those of libxc need one built with --disable-fhc,
#: which distributions do not do.
_OWN_META_GGAS = ("TPSS", "revTPSS", "M06-L")
WITH_DATA_SETS = ("LDA", "PBE", "revPBE", "RPBE")


def functional(xc: str, setups_xc: str | None = None) -> Any:
    """Return GPAW's functional, which knows the data sets that go with it.

    Args:
        xc: GPAW's or libxc's name.
        setups_xc: functional whose data sets to take; None chooses.

    Raises:
        Exception: what GPAW raises for a name that it does not know.
    """
    with warnings.catch_warnings():
        # of meta-GGAs, which are refused where it matters
        warnings.filterwarnings("ignore", "libxc should be compiled with --disable-fhc")
        return parameter(xc, setups_xc).functional(collinear=True)


def parameter(xc: str, setups_xc: str | None = None) -> Any:
    """Return what GPAW takes as ``xc``: the functional and the data sets that go with it."""
    # GPAW takes half a second to import, and not everybody who reads levels has it.
    from gpaw.dft import XC

    class XCWithDataSets(XC):
        """A functional with data sets that were made for another one."""

        def functional(self, **keywords: Any) -> Any:
            found = super().functional(**keywords)
            name = setups_xc or _setups_for(xc, found)
            if name != found.get_setup_name():
                found.get_setup_name = lambda: name
            return found

    # GPAW's own has no type hints
    return XCWithDataSets(**XC.from_param(xc).todict())  # type: ignore[no-untyped-call]


def unusable(functional: Any) -> str:
    """Return why a functional that exists cannot be used in a relaxation, or ''."""
    if functional.type not in ("LDA", "GGA", "MGGA", "HYB"):
        return f"GPAW has no forces for functionals of type {functional.type}"
    if functional.type == "MGGA" and functional.name not in _OWN_META_GGAS:
        return f"of the meta-GGAs only {', '.join(_OWN_META_GGAS)} converge with every libxc"
    return ""


def setups_name(xc: str, setups_xc: str | None = None) -> str:
    """Return the functional whose data sets are taken."""
    return str(functional(xc, setups_xc).get_setup_name())


@cache
def data_sets(species: tuple[str, ...], kinds: tuple[str, ...], xc: str) -> dict[str, str]:
    """Return name and md5 of the data set of each element, as GPAW's log has them.

    Args:
        species: element symbols.
        kinds: kind of data set of each, e.g. ``paw``.
        xc: functional that the data sets were made for.
    """
    from gpaw.setup_data import search_for_file

    found = {}
    for symbol, kind in zip(species, kinds, strict=True):
        name = f"{symbol}.{xc}" if kind == "paw" else f"{symbol}.{kind}.{xc}"
        try:
            _, source = search_for_file(name)
        except (FileNotFoundError, RuntimeError):
            continue  # what GPAW makes up itself, such as ghost atoms, has no file
        found[symbol] = f"{name} {hashlib.md5(source, usedforsecurity=False).hexdigest()}"
    return found


def has_data_set(symbol: str, xc: str) -> bool:
    """Return whether there is a PAW data set of that element for a functional."""
    from gpaw.setup_data import search_for_file

    try:
        search_for_file(f"{symbol}.{xc}")
    except (FileNotFoundError, RuntimeError):  # the second by GPAW before 26
        return False
    return True


def _setups_for(xc: str, found: Any) -> str:
    if xc in _ALIASES:
        return _ALIASES[xc]
    own = str(found.get_setup_name())
    if own in WITH_DATA_SETS:
        return own
    return "LDA" if found.type == "LDA" else "PBE"
