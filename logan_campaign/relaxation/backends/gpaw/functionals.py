"""PAW data sets for each functional.

GPAW looks for data sets named after the functional; these exist only for LDA, PBE, revPBE and
RPBE. For any other libxc functional, the data sets must be chosen explicitly. The frozen core
and the projectors then come from a related functional, a common approximation that neglects the
response of the core.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import cache
from typing import Any

#: Other names of functionals that have data sets.
_ALIASES = {
    "LDA_X+LDA_C_PW": "LDA",
    "GGA_X_PBE+GGA_C_PBE": "PBE",
    "GGA_X_PBE_R+GGA_C_PBE": "revPBE",
    "GGA_X_RPBE+GGA_C_PBE": "RPBE",
}
#: Meta-GGAs implemented in GPAW. Those of libxc need a libxc built with --disable-fhc, which
#: distributions do not provide.
_OWN_META_GGAS = ("TPSS", "revTPSS", "M06-L")
WITH_DATA_SETS = ("LDA", "PBE", "revPBE", "RPBE")


def functional(xc: str, setups_xc: str | None = None) -> Any:
    """Return GPAW's functional with the data sets to use.

    Args:
        xc: GPAW's or libxc's name.
        setups_xc: functional of the data sets; None: chosen automatically.

    Raises:
        Exception: whatever GPAW raises for an unknown name.
    """
    with warnings.catch_warnings():
        # concerns meta-GGAs, which are refused by ``unusable``
        warnings.filterwarnings("ignore", "libxc should be compiled with --disable-fhc")
        return parameter(xc, setups_xc).functional(collinear=True)


def parameter(xc: str, setups_xc: str | None = None) -> Any:
    """Return GPAW's argument ``xc``: the functional with its data sets."""
    # Importing GPAW takes half a second, and levels can be read without it.
    from gpaw.dft import XC

    class XCWithDataSets(XC):
        """A functional with the data sets of another one."""

        def functional(self, **keywords: Any) -> Any:
            found = super().functional(**keywords)
            name = setups_xc or _setups_for(xc, found)
            if name != found.get_setup_name():
                found.get_setup_name = lambda: name
            return found

    # GPAW's own has no type hints
    return XCWithDataSets(**XC.from_param(xc).todict())  # type: ignore[no-untyped-call]


def unusable(functional: Any) -> str:
    """Return why an existing functional cannot be used in a relaxation, or ''."""
    if functional.type not in ("LDA", "GGA", "MGGA", "HYB"):
        return f"GPAW has no forces for functionals of type {functional.type}"
    if functional.type == "MGGA" and functional.name not in _OWN_META_GGAS:
        return f"of the meta-GGAs only {', '.join(_OWN_META_GGAS)} converge with every libxc"
    return ""


def setups_name(xc: str, setups_xc: str | None = None) -> str:
    """Return the functional whose data sets are used."""
    return str(functional(xc, setups_xc).get_setup_name())


@cache
def data_sets(species: tuple[str, ...], kinds: tuple[str, ...], xc: str) -> dict[str, str]:
    """Return name and md5 of the data set of each element, as in GPAW's log.

    Args:
        species: element symbols.
        kinds: kind of data set of each, e.g. ``paw``.
        xc: functional of the data sets.
    """
    from gpaw.setup_data import search_for_file

    found = {}
    for symbol, kind in zip(species, kinds, strict=True):
        name = f"{symbol}.{xc}" if kind == "paw" else f"{symbol}.{kind}.{xc}"
        try:
            _, source = search_for_file(name)
        except (FileNotFoundError, RuntimeError):
            continue  # data sets that GPAW generates, such as ghost atoms, have no file
        found[symbol] = f"{name} {hashlib.md5(source, usedforsecurity=False).hexdigest()}"
    return found


def has_data_set(symbol: str, xc: str) -> bool:
    """Return whether an element has a PAW data set for a functional."""
    from gpaw.setup_data import search_for_file

    try:
        search_for_file(f"{symbol}.{xc}")
    except (FileNotFoundError, RuntimeError):  # RuntimeError: GPAW before 26
        return False
    return True


def _setups_for(xc: str, found: Any) -> str:
    if xc in _ALIASES:
        return _ALIASES[xc]
    own = str(found.get_setup_name())
    if own in WITH_DATA_SETS:
        return own
    return "LDA" if found.type == "LDA" else "PBE"
