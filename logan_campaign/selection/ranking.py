"""Strategies that rank structures by the ensemble's critics or by a user's function."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, JsonValue
from scipy.stats import rankdata

from logan_campaign.core.documents import TargetKind
from logan_campaign.core.errors import InputError
from logan_campaign.relaxation.checks import load_target
from logan_campaign.selection.base import Pool, Selection, SelectionBase

# Structures per call of a user's function, to bound memory.
_CHUNK = 1000


class CriticSelection(SelectionBase):
    """Pick the structures that the ensemble's critics rate as most realistic.

    Scores of different critics have different scales, so the ranks of each critic are averaged over
    the critics of all other models. A model's own critic, against which its generator was trained,
    is used only if there is no other.
    """

    needs_models = True

    strategy: Literal["critic"] = "critic"

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick the best-ranked. See :meth:`SelectionBase.select`."""
        if not pool.models:
            raise InputError("select: 'critic' needs trained models, and there are none")
        ranks = rankdata(pool.critic_scores().T, axis=1)
        return best("critic", mean_rank_of_others(ranks, pool.group), self.n_picks)


def mean_rank_of_others(ranks: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the mean ranks (n,) over all critics except that of a structure's own model.

    Args:
        ranks: (n_models, n) rank of each structure by each critic.
        group: (n,) index of the model that generated each structure.
    """
    if len(ranks) == 1:
        return np.asarray(ranks[0])
    own = ranks[group, np.arange(ranks.shape[1])]
    return np.asarray((ranks.sum(axis=0) - own) / (len(ranks) - 1))


class ScoreSelection(SelectionBase):
    """Rank or filter structures by a user's function.

    The function is called with a list of ASE ``Atoms`` and ``kwargs``, and returns one number
    per structure. A spec with this strategy runs code: it must come from someone you trust.
    """

    strategy: Literal["score"] = "score"
    target: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", description="'module:function'"
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Further arguments of the function"
    )
    keep: Literal["lowest", "highest", "true"] = Field(
        "lowest",
        description="'lowest' or 'highest': the n_picks best; 'true': a filter that picks all "
        "structures for which the function returns a true value, regardless of n_picks",
    )

    def select(self, pool: Pool, seed: int) -> Selection:
        """Pick by the function's values. See :meth:`SelectionBase.select`."""
        function = load_target(self.target)
        values = np.concatenate(
            [
                self._values(function([pool.atoms(row) for row in rows], **self.kwargs), len(rows))
                for rows in np.split(np.arange(len(pool)), range(_CHUNK, len(pool), _CHUNK))
            ]
        )
        lost = int(np.isnan(values).sum())
        reasons = {"score is not a number": lost} if lost else {}
        if self.keep == "true":
            passed = np.flatnonzero(np.nan_to_num(values) != 0)
            left = len(pool) - len(passed) - lost
            if left:
                reasons[f"refused by {self.target}"] = left
            if not len(passed):
                raise InputError(f"select: {self.target} passes none of {len(pool)} structures")
            return _alone("score", passed, len(pool), reasons)
        return best("score", values if self.keep == "lowest" else -values, self.n_picks, reasons)

    def check(self, species: Sequence[str], kind: TargetKind) -> None:
        """Check that the function exists. See :meth:`SelectionBase.check`."""
        super().check(species, kind)
        try:
            signature = inspect.signature(load_target(self.target))
        except InputError as err:
            raise InputError(f"select: {err}") from err
        except ValueError:  # implemented in C: no signature
            return
        try:
            signature.bind([], **self.kwargs)
        except TypeError as err:
            raise InputError(
                f"select: {self.target} does not take a list and these kwargs: {err}"
            ) from err

    def _values(self, returned: object, n: int) -> np.ndarray:
        try:
            values = np.asarray(returned, dtype=np.float64)
        except (TypeError, ValueError) as err:
            raise InputError(f"select: {self.target} does not return numbers: {err}") from err
        if values.shape != (n,):
            raise InputError(
                f"select: {self.target} returns shape {values.shape} for {n} structures; "
                "one number per structure is needed"
            )
        return values


def best(
    strategy: str, values: np.ndarray, n_picks: int, reasons: dict[str, int] | None = None
) -> Selection:
    """Return the indices of the ``n_picks`` lowest values; ties in the order of the pool.

    Raises:
        InputError: no value is a number.
    """
    order = np.argsort(values, kind="stable")
    order = order[~np.isnan(values[order])][:n_picks]
    if not len(order):
        raise InputError(f"nothing to select from: {strategy} scores none of {len(values)}")
    return _alone(strategy, order, len(values), reasons or {})


def _alone(strategy: str, picks: np.ndarray, n: int, reasons: dict[str, int]) -> Selection:
    """Return picks that represent only themselves."""
    labels = np.full(n, -1)
    labels[picks] = np.arange(len(picks))
    return Selection.of(strategy, picks, labels, n_unusable=reasons)
