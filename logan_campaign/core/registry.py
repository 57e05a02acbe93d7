"""Named classes that a spec or a command can ask for: those of this package and of plugins.

Built-in classes are named by a text 'module:name' and imported when they are asked for. Installed
packages add their own by entry points, which are trusted as installed code is::

    [project.entry-points."logan_campaign.levels"]
    my-level = "my_package.levels:MyLevel"
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from logan_campaign.core.errors import InputError

logger = logging.getLogger(__name__)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

#: Groups of entry points whose classes are trusted where stored jobs name them.
GROUPS = tuple(
    f"logan_campaign.{kind}"
    for kind in ("levels", "generators", "sources", "strategies", "policies")
)


class Registry(Generic[T]):
    """The classes of one kind, by name.

    Args:
        what: what one of them is, for messages, such as 'level'.
        group: entry-point group of plugins.
        base: class that all of them derive from.
        builtin: name to 'module:name' of those of this package.
    """

    def __init__(self, what: str, group: str, base: type[T], builtin: Mapping[str, str]) -> None:
        self.what = what
        self.group = group
        self.base = base
        self._builtin = {name: EntryPoint(name, target, group) for name, target in builtin.items()}

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)} | self._builtin

    @property
    def names(self) -> list[str]:
        """Names of all: first those of this package, then those of plugins."""
        return [*self._builtin, *sorted(self._points().keys() - self._builtin.keys())]

    def get(self, name: str) -> type[T]:
        """Return the class of that name.

        Raises:
            InputError: there is none, or its plugin cannot be used; one line.
        """
        point = self._builtin.get(name) or self._points().get(name)
        if point is None:
            raise InputError(f"no {self.what} is called {name!r}: use {' or '.join(self.names)}")
        try:
            found = point.load()
        except Exception as err:  # importing runs the plugin, which may raise anything
            why = " ".join(f"{type(err).__name__}: {err}".split())
            raise InputError(f"{self._from(point)} cannot be imported ({why})") from err
        if reason := self._unfit(found, name):
            raise InputError(f"{self._from(point)} {reason}")
        return found

    def _from(self, point: EntryPoint) -> str:
        package = f" of {point.dist.name}" if point.dist is not None else ""
        return f"the {self.what} {point.name!r}{package}"

    def _unfit(self, found: Any, name: str) -> str:
        if not (isinstance(found, type) and issubclass(found, self.base)):
            return f"is no {self.base.__module__}.{self.base.__qualname__}"
        return ""

    def loaded(self) -> dict[str, type[T]]:
        """Return all classes by name; plugins that cannot be used are left out and logged."""
        found = {}
        for name in self.names:
            try:
                found[name] = self.get(name)
            except InputError as err:
                logger.warning("%s", err)
        return found


class SpecRegistry(Registry[M]):
    """Models that a spec chooses from by the value of one key.

    As an annotation, ``Annotated[Level, LEVELS]``, it makes a field of a spec that takes any of
    them, those of plugins included: values are validated by the model that the key names, and the
    JSON schema lists all models.

    Args:
        what, group, base, builtin: as for :class:`Registry`.
        key: the key; each model has it as a field with its own name as the default.
        default: returns the name for a value without that key; None: the key is required.
    """

    def __init__(
        self,
        what: str,
        group: str,
        base: type[M],
        builtin: Mapping[str, str],
        key: str,
        default: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        super().__init__(what, group, base, builtin)
        self.key = key
        self._default = default

    def _unfit(self, found: Any, name: str) -> str:
        said = super()._unfit(found, name)
        field = None if said else found.model_fields.get(self.key)
        if not said and (field is None or field.default != name):
            said = f"must have a field {self.key!r} with the default {name!r}"
        return said

    def parse(self, value: Any) -> M:
        """Return the model that plain data describe; a model is returned as it is.

        Raises:
            pydantic.ValidationError: they describe none; places are relative to the value.
        """
        if isinstance(value, self.base):
            return value
        if not isinstance(value, Mapping):
            raise self._error("model_attributes_type", (), value)
        name = value.get(self.key)
        if name is None and self._default is not None:
            name = self._default(value)
        if name is None:
            raise self._error("missing", (self.key,), value)
        try:
            model = self.get(str(name))
        except InputError as err:
            unknown = PydanticCustomError("unknown_name", "{why}", {"why": str(err)})
            raise self._error(unknown, (self.key,), name) from err
        return model.model_validate({**value, self.key: name})

    def _error(
        self, error: str | PydanticCustomError, place: tuple[str, ...], value: Any
    ) -> ValidationError:
        details = InitErrorDetails(type=error, loc=place, input=value)
        return ValidationError.from_exception_data(self.what, [details])

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        members = {
            name: handler(model.__pydantic_core_schema__) for name, model in self.loaded().items()
        }
        mapping = {name: schema["$ref"] for name, schema in members.items() if "$ref" in schema}
        return {
            "oneOf": list(members.values()),
            "discriminator": {"propertyName": self.key, "mapping": mapping},
        }


def is_registered(module: str, name: str) -> bool:
    """Tell whether a class is one that an installed package has registered.

    Args:
        module: where the class is defined.
        name: its qualified name there.
    """
    for group in GROUPS:
        for point in entry_points(group=group):
            if point.module.partition(".")[0] != module.partition(".")[0]:
                continue
            try:
                found = point.load()
            except Exception:  # noqa: BLE001 - a plugin that cannot be imported names no class
                continue
            if (found.__module__, found.__qualname__) == (module, name):
                return True
    return False
