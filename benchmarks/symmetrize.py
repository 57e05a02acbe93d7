"""Whether structures that are nearly symmetric should be made so, and picked first.

    python benchmarks/symmetrize.py run --seeds 0 1     # goes on where it was
    python benchmarks/symmetrize.py report --json

As ``per_network.py``, with the same crystals and the same structures: selection by framework
picks 20 of them as they are, or with ``symmetrize`` at several tolerances, which moves atoms,
tells networks with different space groups apart, and picks what is most symmetric first. At the
tolerance that was chosen, several of each network and space group are tried as well, and starts
that are on the way to the symmetric structure: relaxation keeps symmetry, and so can end on saddle
points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from per_network import N_PICKS, command_line
from records import RESULTS

if TYPE_CHECKING:
    from logan_campaign.selection import Pool, Selection

#: Tolerances (Å); None: structures as they are.
TOLERANCES = (None, 0.2, 0.3, 0.4, 0.5)

#: Representatives of each network with a space group, besides one.
PER_KEY = (2, 4)

#: How much of the way to the symmetric structure, besides all of it.
SHARES = (0.9,)


def settings() -> dict[str, Any]:
    """Return the selections that are compared, by name."""
    from logan_campaign.selection import FrameworkSelection

    class PartOfTheWay(FrameworkSelection):
        """Framework selection whose picks are symmetrized by a share of the way only."""

        share: float

        def select(self, pool: Pool, seed: int) -> Selection:
            """Pick as always, but begin between generated and symmetric structures."""
            selection = super().select(pool, seed)
            for row, symmetric in selection.starts.items():
                start = pool.atoms(row)
                start.positions += self.share * (symmetric.positions - start.positions)
                selection.starts[row] = start
            return selection

    by_tolerance = {
        str(tolerance): FrameworkSelection(n_picks=N_PICKS, symmetrize=tolerance)
        for tolerance in TOLERANCES
    }
    several = {
        f"0.4, {k} each": FrameworkSelection(n_picks=N_PICKS, symmetrize=0.4, per_key=k)
        for k in PER_KEY
    }
    partly = {
        f"0.4, {share:.0%} of the way": PartOfTheWay(n_picks=N_PICKS, symmetrize=0.4, share=share)
        for share in SHARES
    }
    return by_tolerance | several | partly


if __name__ == "__main__":
    command_line(__doc__, RESULTS / "symmetrize.jsonl", settings, "symmetrize")
