"""Selection of a few diverse structures for relaxation.

Every strategy is a model with a literal ``strategy`` and a ``select``; :data:`SelectionSpec` is
what stands in a spec: one strategy, or a list of them in sequence. A new strategy is one module and
one line here, or a plugin's entry point in the group ``logan_campaign.strategies``.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import numpy as np
from pydantic import Discriminator, Field, Tag

from logan_campaign.core.registry import SpecRegistry
from logan_campaign.selection.base import Pool as Pool
from logan_campaign.selection.base import Selection as Selection
from logan_campaign.selection.base import SelectionBase as SelectionBase
from logan_campaign.selection.chart import chart as chart
from logan_campaign.selection.chart import learned_coordination as learned_coordination
from logan_campaign.selection.diverse import DiverseSelection as DiverseSelection
from logan_campaign.selection.framework import FrameworkSelection as FrameworkSelection
from logan_campaign.selection.keyed import PreRelaxation as PreRelaxation
from logan_campaign.selection.kmeans import KMeansSelection as KMeansSelection
from logan_campaign.selection.kmeans import select_kmeans as select_kmeans
from logan_campaign.selection.molecular_graph import GraphSelection as GraphSelection
from logan_campaign.selection.ranking import CriticSelection as CriticSelection
from logan_campaign.selection.ranking import ScoreSelection as ScoreSelection

STRATEGIES = SpecRegistry(
    "strategy",
    "logan_campaign.strategies",
    SelectionBase,  # type: ignore[type-abstract]
    {
        "kmeans": "logan_campaign.selection.kmeans:KMeansSelection",
        "graph": "logan_campaign.selection.molecular_graph:GraphSelection",
        "framework": "logan_campaign.selection.framework:FrameworkSelection",
        "diverse": "logan_campaign.selection.diverse:DiverseSelection",
        "critic": "logan_campaign.selection.ranking:CriticSelection",
        "score": "logan_campaign.selection.ranking:ScoreSelection",
    },
    key="strategy",
)

#: A strategy as it stands in a spec: whatever is registered.
Strategy = Annotated[SelectionBase, STRATEGIES]

#: One strategy, or several: each picks from what the one before has picked.
SelectionSpec = Annotated[
    Annotated[Strategy, Tag("one")]
    | Annotated[list[Strategy], Field(min_length=1), Tag("sequence")],
    Discriminator(lambda given: "sequence" if isinstance(given, list) else "one"),
]


def steps_of(spec: SelectionSpec) -> list[Strategy]:
    """Return the strategies in the order in which they are applied."""
    return list(spec) if isinstance(spec, list) else [spec]


def select(pool: Pool, spec: SelectionSpec, seed: int) -> Selection:
    """Pick structures by one strategy, or by several in sequence.

    In a sequence, each strategy picks from the picks of the previous one, as changed by cheap
    relaxations, and a pick represents everything that the members of its cluster represented.

    Args:
        pool: the structures to choose from.
        spec: strategies.
        seed: seed of all random choices; the same arguments give the same picks.

    Raises:
        InputError: a strategy finds nothing to pick from, or lacks what it needs.
    """
    steps = steps_of(spec)
    result = steps[0].select(pool, seed)
    for step in steps[1:]:
        result = _then(result, step.select(_picked(pool, result), seed))
    return result


def _picked(pool: Pool, selection: Selection) -> Pool:
    place = {int(row): k for k, row in enumerate(selection.indices)}
    return pool.take(selection.indices).moved(
        {place[row]: atoms for row, atoms in selection.starts.items() if row in place}
    )


def _then(first: Selection, second: Selection) -> Selection:
    """Combine two selections in sequence; ``second`` chose from the picks of ``first``."""
    labels = np.full(len(first.labels), -1)
    inside = first.labels >= 0
    labels[inside] = second.labels[first.labels[inside]]
    rows = first.indices[second.indices]
    changed = {int(row): first.starts[int(row)] for row in rows if int(row) in first.starts}
    changed.update({int(first.indices[row]): atoms for row, atoms in second.starts.items()})
    result = Selection.of(
        "",
        rows,
        labels,
        [
            mine if mine is not None else first.keys[row]
            for mine, row in zip(second.keys, second.indices, strict=True)
        ],
        n_unusable=dict(Counter(first.n_unusable) + Counter(second.n_unusable)),
        starts=changed,
        cheap=[*first.cheap, *second.cheap],
    )
    result.strategies = [
        f"{first.strategies[row]} > {mine}"
        for mine, row in zip(second.strategies, second.indices, strict=True)
    ]
    return result
