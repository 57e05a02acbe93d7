"""Results of campaigns in Python: queries, structures, arrays, lineage.

>>> with Campaign.open("quick") as campaign:  # doctest: +SKIP
...     new = campaign.candidates(state="new", energy_above_min_lt=0.05)
...     print(len(new), new.to_dataframe())
"""

from logan_campaign.results.arrays import PcaMap, StoredPool, Trajectory
from logan_campaign.results.campaign import Campaign, Results
from logan_campaign.results.queries import Candidate, CandidateQuery, MaterialQuery

__all__ = [
    "Campaign",
    "Candidate",
    "CandidateQuery",
    "MaterialQuery",
    "PcaMap",
    "Results",
    "StoredPool",
    "Trajectory",
]
