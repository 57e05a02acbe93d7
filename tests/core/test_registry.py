"""Registries name what is there, and say what is not."""

from __future__ import annotations

import pytest

from logan_campaign.core.errors import InputError
from logan_campaign.core.registry import Registry
from logan_campaign.generators.models import METHODS
from logan_campaign.relaxation.base import LEVELS
from logan_campaign.results.formats import EXPORTS
from logan_campaign.selection import STRATEGIES
from logan_campaign.sources import SOURCES


@pytest.mark.parametrize(
    "registry", [LEVELS, METHODS, SOURCES, STRATEGIES, EXPORTS], ids=lambda registry: registry.group
)
def test_all_that_is_built_in_is_where_the_registry_says(registry: Registry) -> None:
    for name in registry.names:
        assert issubclass(registry.get(name), registry.base)
    with pytest.raises(InputError, match=f"no {registry.what} is called 'x': use .* or ") as caught:
        registry.get("x")
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in registry.names)


def test_what_is_no_such_class_is_refused() -> None:
    odd = Registry("thing", "logan_campaign.things", dict, {"odd": "json:loads"})
    with pytest.raises(InputError, match=r"the thing 'odd' is no builtins\.dict"):
        odd.get("odd")
