"""Code that stored documents may call.

A stored job names code, and jobflow imports whatever module it names. Stores are copied, imported
from archives and written by others, so every class and callable named by a job is checked before
the job is decoded. Allowed are those of this package and plain data types of its documents; other
modules must be named on the command line (``--trust MODULE``). Modules named by a spec that the
user runs are trusted in that run.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from logan_campaign.core.errors import InputError
from logan_campaign.core.ids import content_id

#: Environment variable that tells job processes which modules are trusted, by commas. Where
#: it is set, be it to nothing, all others are refused; where it is not, a program of the
#: user's own calls the package, and what it passes is its own.
VARIABLE = "LOGAN_CAMPAIGN_TRUST"

_PACKAGE = "logan_campaign"
#: Modules of this package that do something when they are imported or called on their own.
_NOT_FOR_JOBS = ("logan_campaign.__main__", "logan_campaign.cli", "logan_campaign.web")

#: Data types of other packages that documents hold.
_DATA = {
    # a setting of atomate2's Makers
    "emmet.core.types.enums": {"StoreTrajectoryOption"},
    "jobflow.core.flow": {"Flow", "JobOrder"},
    "jobflow.core.job": {"Job", "JobConfig", "JobOrder", "OnMissing", "store_inputs"},
    "jobflow.core.reference": {"OutputReference", "OnMissing"},
    "jobflow.core.schemas": {"JobStoreDocument"},
    # where a worker of a queue puts its outputs: files beside the job
    "jobflow.core.store": {"JobStore"},
    "jobflow_remote.remote.data": {
        "StdJSONStore",
        "MinimalORJSONStore",
        "MinimalMsgspecJSONStore",
        "MinimalMsgpackStore",
    },
    # what a job asks of a scheduler, and what is set up before it
    "jobflow_remote.config.base": {"ExecutionConfig"},
    "qtoolkit.core.data_objects": {"ProcessPlacement", "QResources"},
    "maggma.stores.mongolike": {"JSONStore", "MemoryStore"},
    "pymatgen.core.composition": {"Composition"},
    "pymatgen.core.lattice": {"Lattice"},
    "pymatgen.core.periodic_table": {"Element", "Species"},
    "pymatgen.core.sites": {"PeriodicSite", "Site"},
    "pymatgen.core.structure": {"Molecule", "Structure"},
    "bson.objectid": {"ObjectId"},
    "datetime": {"datetime"},
    "numpy": {"array"},
    "uuid": {"UUID"},
}


class UntrustedError(InputError):
    """A stored document names code that is not trusted."""


@contextmanager
def restricted(modules: Iterable[str]) -> Iterator[None]:
    """Restrict this process and its children to the given modules."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = ",".join(sorted(set(modules)))
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def code_named_in(spec: Any) -> list[str]:
    """Return what a spec (JSON) names: ``target: module:function``, ``@module``, a command."""
    if isinstance(spec, Mapping):
        target = spec.get("target")
        named = [target.partition(":")[0]] if isinstance(target, str) and ":" in target else []
        named += [spec["@module"]] if isinstance(spec.get("@module"), str) else []
        how = spec.get("notify")
        if isinstance(how, Mapping) and isinstance(how.get("command"), list):
            named.append(command_id(how["command"]))
        return named + [name for value in spec.values() for name in code_named_in(value)]
    if isinstance(spec, list | tuple):
        return [name for item in spec for name in code_named_in(item)]
    return []


def command_id(command: Sequence[Any]) -> str:
    """Return the name by which a command of ``notify`` is trusted ('command-…')."""
    return content_id("command", list(command))


def check_command(command: Sequence[str]) -> None:
    """Check a command of ``notify`` before it is run.

    Raises:
        UntrustedError: this process runs stored jobs and the command is not trusted.
    """
    trusted = trusted_modules()
    if trusted is not None and command_id(command) not in trusted:
        raise UntrustedError(_refusal(f"the program {command[0]}", command_id(command)))


def trusted_modules() -> frozenset[str] | None:
    """Return the modules that this process trusts; None if nothing is refused."""
    text = os.environ.get(VARIABLE)
    return None if text is None else frozenset(filter(None, text.split(",")))


def check_document(document: Any, trusted: Iterable[str]) -> None:
    """Check all code named by a serialised job or its inputs before they are decoded.

    Args:
        document: plain JSON.
        trusted: modules besides this package.

    Raises:
        UntrustedError: a class or callable is not allowed; the message names the first.
    """
    names = frozenset(trusted)
    # iteratively, since foreign documents may be nested deeper than Python's stack
    waiting = [document]
    while waiting:
        here = waiting.pop()
        if isinstance(here, Mapping):
            if "@module" in here:
                _check_name(here, names)
            waiting.extend(here.values())
        elif isinstance(here, list | tuple):
            waiting.extend(here)


def check_job(job: Mapping[str, Any], trusted: Iterable[str]) -> None:
    """Check a serialised job by :func:`check_document`, and its function.

    Of this package, only functions decorated by jobflow's ``@job`` are allowed; a method must
    belong to the object that it is bound to.

    Raises:
        UntrustedError: something is not allowed; the message names it.
    """
    names = frozenset(trusted)
    function = job.get("function")
    if not isinstance(function, Mapping):
        check_document(job, names)
        return
    _check_function(function, names)
    check_document([{**job, "function": None}, function.get("@bound")], names)


def check_callable(target: str) -> None:
    """Check ``module:function`` of a level or a score before it is imported.

    Raises:
        UntrustedError: this process runs stored jobs and the module is not trusted.
    """
    trusted = trusted_modules()
    module = target.partition(":")[0]
    # entry points belong to installed packages
    if trusted is not None and ":" in target and not _is_named(module, trusted):
        raise UntrustedError(_refusal(target, module))


def check_values(values: Any) -> None:
    """Check the objects named in a level's arguments before they are created.

    Raises:
        UntrustedError: this process runs stored jobs and a module is not trusted.
    """
    trusted = trusted_modules()
    if trusted is not None:
        check_document(values, trusted)


def _check_function(function: Mapping[str, Any], trusted: frozenset[str]) -> None:
    module, name = function.get("@module"), function.get("@callable")
    owner = function.get("@bound")
    if not isinstance(module, str) or not isinstance(name, str) or "@class" in function:
        raise UntrustedError(f"a stored job calls '{module}.{name}', which is no callable")
    if owner is None:
        found = _defined(module, name)
        known = name == "store_inputs" and module == "jobflow.core.job"
        known = known or _is_named(module, trusted)
    else:
        # a method may be inherited from another package, so it is looked up in the object's class
        of, kind = (owner.get("@module"), owner.get("@class")) if _is_object(owner) else ("", "")
        found = getattr(_defined(of, kind), name.rpartition(".")[2], None)
        known = _is_named(of, trusted) and _is_named(module, trusted)
    defined = (getattr(found, "__module__", None), getattr(found, "__qualname__", None))
    if not known and (not hasattr(found, "original") or defined != (module, name)):
        raise UntrustedError(_refusal(f"{module}.{name}", module))


def _is_object(owner: Any) -> bool:
    return isinstance(owner, Mapping) and all(
        isinstance(owner.get(key), str) for key in ("@module", "@class")
    )


def _check_name(here: Mapping[str, Any], trusted: frozenset[str]) -> None:
    module = here["@module"]
    name = here.get("@class", here.get("@callable"))
    shown = f"{module}.{name}"
    # a document names a class or a callable; one with both would be decoded differently
    both = "@class" in here and "@callable" in here
    if both or not isinstance(module, str) or not isinstance(name, str | None):
        raise UntrustedError(f"a stored job names {shown!r}, which is no callable")
    if name == "OutputReference" and _reaches_inside(here.get("attributes")):
        raise UntrustedError("a stored job refers to a private attribute of another's output")
    if name is None or _is_named(module, trusted) or name in _DATA.get(module, ()):
        return
    from logan_campaign.core.registry import is_registered  # imports pydantic

    if _defined(module, name) is None and not is_registered(module, name):
        raise UntrustedError(_refusal(shown, module))


def _reaches_inside(attributes: Any) -> bool:
    """Return whether a reference follows names such as ``__globals__``."""
    return any(
        isinstance(part, str) and part.startswith("__")
        for step in attributes or ()
        for part in (step if isinstance(step, list | tuple) else (step,))
    )


def _defined(module: str, name: str) -> Any:
    """Return an object defined by a module of this package; None for imported objects."""
    if not f"{module}.".startswith(f"{_PACKAGE}.") or _is_named(module, _NOT_FOR_JOBS):
        return None
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            if part.startswith("_"):
                return None
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    ours = str(getattr(found, "__module__", "")).startswith(f"{_PACKAGE}.")
    return found if ours else None


def _is_named(module: str, named: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in named)


def _refusal(name: str, module: str) -> str:
    return (
        f"a stored job calls {name}, which is not part of logan-campaign: to allow it, "
        f"give --trust {module} (for a queue, to 'remote init')"
    )
