"""Read campaigns from a store."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from logan_campaign.core.arrays import unpack_arrays
from logan_campaign.core.documents import (
    BlobRef,
    CandidateState,
    Record,
    StructureEntry,
    TargetKind,
)
from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.results.arrays import PcaMap, StoredPool, Trajectory, part
from logan_campaign.results.queries import Candidate, CandidateQuery, MaterialQuery, shown
from logan_campaign.stores.filters import filters_of
from logan_campaign.stores.open import CampaignStores, open_store
from logan_campaign.stores.queries import AnyRecord, CampaignDatabase
from logan_campaign.stores.records import (
    CampaignRecord,
    CandidateRecord,
    MaterialRecord,
    ModelRecord,
    PoolRecord,
    RelaxationRecord,
    SelectionRecord,
    TrainingSetRecord,
)

if TYPE_CHECKING:
    import networkx as nx
    import plotly.graph_objects as go

    from logan_campaign.generators.models import Model


class Results:
    """All campaigns of a store.

    Args:
        stores: opened stores.
        owns_stores: whether :meth:`close` closes them.
    """

    def __init__(self, stores: CampaignStores, *, owns_stores: bool = True) -> None:
        self.stores = stores
        self.database = CampaignDatabase(stores)
        self._owns_stores = owns_stores

    @classmethod
    def open(cls, where: str | Path) -> Self:
        """Open a store: a folder, an SQLite file, or ``mongodb://…/database``.

        Raises:
            StoreError: there is no store, or it cannot be read.
        """
        return cls(open_store(where))

    def close(self) -> None:
        """Close the store; queries can then no longer be read."""
        if self._owns_stores:
            self.stores.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- campaigns ------------------------------------------------------------------

    def campaigns(self) -> list[CampaignRecord]:
        """Return all campaigns, sorted by name."""
        return self.database.campaigns()

    def campaign(self, name_or_id: str | None = None) -> Campaign:
        """Return a campaign; it can be read until this object is closed.

        Args:
            name_or_id: name, id or unique prefix of the id; optional if there is only one.

        Raises:
            InputError: there is no such campaign, or several match.
        """
        return Campaign(self.stores, self.database.campaign(name_or_id), owns_stores=False)

    # --- candidates, materials, lineage ----------------------------------------------------

    def candidates(self, **filters: Any) -> CandidateQuery:
        """Return a lazy query of the candidates of all campaigns that match all filters.

        Args:
            **filters: see :func:`~logan_campaign.stores.filters.filter_names`;
                ``campaign`` by name or id, ``model``, ``training_set`` and ``material`` by
                id or unique prefix.

        Raises:
            InputError: unknown filter, or invalid value.
        """
        return CandidateQuery(self.database, self._with_ids(CandidateRecord, filters))

    def materials(self, **filters: Any) -> MaterialQuery:
        """Return a lazy query of the materials of all campaigns that match all filters.

        Args:
            **filters: see :func:`~logan_campaign.stores.filters.filter_names`;
                ``campaign`` by name or id.

        Raises:
            InputError: unknown filter, or invalid value.
        """
        return MaterialQuery(self.database, self._with_ids(MaterialRecord, filters))

    def _with_ids(self, record: type[Record], filters: dict[str, Any]) -> dict[str, Any]:
        """Return filters with names and prefixes of ids replaced by ids."""
        found = dict(filters)
        for name, about in filters_of(record).items():
            if about.column.refers and filters.get(name) is not None:
                found[name] = self.database.refer(about.column.refers, filters[name]).id
        return found

    def candidate(self, identity: str) -> Candidate:
        """Return a candidate by its id or the beginning of it.

        Raises:
            InputError: if there is none, or several.
        """
        return shown(self.database.candidate(identity))

    def find(self, identity: str) -> AnyRecord:
        """Return a candidate, material, model, training set or campaign by its id.

        Raises:
            InputError: if there is none, or several.
        """
        return self.database.find(identity)

    def lineage(self, identity: str) -> nx.DiGraph:
        """Return the lineage of an object: its origins and everything derived from it.

        Nodes are ids, with ``kind``, ``label``, ``info`` and ``details``; edges point
        from the earlier to the derived object and have a ``relation``
        (:class:`~logan_campaign.stores.lineage.Relation`).

        Raises:
            InputError: no object has this id, or several match.
        """
        return self.database.lineage(identity).to_networkx()

    # --- large data ----------------------------------------------------------------

    def structures(self, set_id: str) -> list[StructureEntry]:
        """Return the structures of a training set or known set.

        Raises:
            InputError: if there is no such set.
            StoreError: if the store does not hold them.
        """
        record = self.database.training_set(set_id)
        entries = self._blob(record.structures, f"the structures of {record.id}")
        return [StructureEntry.model_validate(entry) for entry in entries]

    def pool(self, pool_id: str) -> StoredPool:
        """Return the structures that a model generated.

        Raises:
            InputError: there is no such pool.
            StoreError: its structures are not in the store.
        """
        for model in self.database.models_of_pool(pool_id):
            record = next(pool for pool in model.pools if pool.id == pool_id)
            about = self.stores.docs.query_one(
                {"uuid": record.source.job_uuid, "index": record.source.job_index},
                ["output.symbols", "output.kind"],
            )
            if about is None:
                raise StoreError(f"the job that generated {pool_id} is not in the store")
            arrays = unpack_arrays(self._blob(record.pool, pool_id))
            return StoredPool(
                pool_id,
                list(about["output"]["symbols"]),
                part(arrays, "positions", pool_id),
                part(arrays, "cell", pool_id),
                about["output"]["kind"] == "crystal",
            )
        raise InputError(f"no pool {pool_id!r} in {self.stores.describe()}")

    def weights(self, model_id: str) -> bytes:
        """Return a model's weights as the contents of a safetensors file.

        Raises:
            InputError: there is no such model, or its training failed.
            StoreError: the weights are not in the store.
        """
        record = self.database.model(model_id)
        if record.state in ("failed", "external"):
            raise InputError(f"{record.id} has no weights: {record.reason}")
        return base64.b64decode(self._blob(record.weights, f"the weights of {record.id}"))

    def load_model(self, model_id: str) -> Model:
        """Return a trained model, ready to generate.

        Raises:
            InputError: there is no such model, or its training failed.
            ModelFileError: the model is damaged, or of another version of the algorithm.
            StoreError: its weights are not in the store.
        """
        from logan_campaign.generators.models import load  # imports JAX

        return load(self.weights(model_id))

    def trajectory(self, relaxation: RelaxationRecord) -> Trajectory:
        """Return the trajectory of a relaxation.

        Args:
            relaxation: one of a candidate's ``relaxations``.

        Raises:
            InputError: there is no trajectory, since nothing was computed.
            StoreError: the trajectory is not in the store.
        """
        if relaxation.trajectory is None:
            raise InputError(f"{relaxation.id} has no trajectory: nothing was computed")
        arrays = unpack_arrays(self._blob(relaxation.trajectory, relaxation.id))
        from ase.data import chemical_symbols

        cells = part(arrays, "cell", relaxation.id)
        return Trajectory(
            [chemical_symbols[z] for z in part(arrays, "numbers", relaxation.id)],
            part(arrays, "positions", relaxation.id),
            cells,
            part(arrays, "energy", relaxation.id),
            part(arrays, "forces", relaxation.id),
            arrays.get("stress"),
            bool(cells.any()),
        )

    def _blob(self, ref: BlobRef | None, what: str) -> Any:
        if ref is None:
            raise StoreError(f"{what}: not in a store that can be read here")
        return self.database.load_blob(ref)


class Campaign(Results):
    """One campaign in a store: its candidates and materials alone, and all else of the store.

    Args:
        stores: opened stores.
        record: its record in the campaign database.
        owns_stores: whether :meth:`close` closes them.
    """

    def __init__(
        self, stores: CampaignStores, record: CampaignRecord, *, owns_stores: bool = True
    ) -> None:
        super().__init__(stores, owns_stores=owns_stores)
        self.record = record

    @classmethod
    def open(cls, where: str | Path, name: str | None = None) -> Self:
        """Open a campaign.

        Args:
            where: a folder, an SQLite file, or ``mongodb://…/database``.
            name: name, id or unique prefix of the id; needed if there are several.

        Raises:
            InputError: there is no such campaign, or several match.
            StoreError: there is no store, or it cannot be read.
        """
        stores = open_store(where)
        try:
            return cls(stores, CampaignDatabase(stores).campaign(name))
        except BaseException:
            stores.close()
            raise

    def __repr__(self) -> str:
        return f"<Campaign {self.name!r} ({self.id}) in {self.stores.describe()}>"

    def _repr_html_(self) -> str:
        from logan_campaign.geometry.formulas import readable_formula
        from logan_campaign.results.notebook import ROWS, candidates_html, facts_html

        found = self.candidates(state=["new", "rediscovered"]).sorted_by("best")
        counts = (f"{n} {state}" for state, n in self.counts().items() if n)
        about = {
            "looks for": f"{self.kind} {readable_formula(self.formula, self.kind)}",
            "id": self.id,
            "stored in": self.stores.describe(),
            "candidates": ", ".join(counts) or "none yet",
        }
        listed = found.without_structures().page(0, ROWS)
        return str(facts_html(self.name, about) + candidates_html(listed, found.count()))

    def refresh(self) -> None:
        """Read the record of a running campaign again."""
        self.record = self.database.campaign(self.id)

    # --- the campaign ---------------------------------------------------------------

    @property
    def id(self) -> str:
        """Content id ('camp-…')."""
        return self.record.id

    @property
    def name(self) -> str:
        """Name in the spec."""
        return self.record.name

    @property
    def kind(self) -> TargetKind:
        """Molecules or crystals."""
        return self.record.kind

    @property
    def formula(self) -> str:
        """Hill formula of the target."""
        return self.record.formula

    @property
    def spec(self) -> dict[str, Any]:
        """The whole spec, resolved."""
        return self.record.spec

    @property
    def selections(self) -> list[SelectionRecord]:
        """The selections, one per round: structures generated, passed over and picked."""
        return self.record.selections

    @property
    def models(self) -> list[ModelRecord]:
        """The models, by index in the ensemble."""
        return self.database.models(self.id)

    @property
    def pools(self) -> list[PoolRecord]:
        """The pools of generated structures, by model; :meth:`pool` returns the structures."""
        return [pool for model in self.models for pool in model.pools]

    @property
    def training_sets(self) -> list[TrainingSetRecord]:
        """The training sets of the models."""
        mine = self.record.training_set_ids
        return [record for record in self.database.training_sets(self.id) if record.id in mine]

    @property
    def known_sets(self) -> list[TrainingSetRecord]:
        """The known sets, used for comparison only."""
        mine = self.record.known_set_ids
        return [record for record in self.database.training_sets(self.id) if record.id in mine]

    # --- candidates, materials, lineage ----------------------------------------------------

    def candidates(self, **filters: Any) -> CandidateQuery:
        """Return a lazy query of its candidates that match all filters.

        Args:
            **filters: as :meth:`Results.candidates`.

        Raises:
            InputError: unknown filter, or invalid value.
        """
        filters["campaign"] = self.id
        return super().candidates(**filters)

    def materials(self, **filters: Any) -> MaterialQuery:
        """Return a lazy query of the materials found that match all filters.

        Raises:
            InputError: unknown filter, or invalid value.
        """
        filters["campaign"] = self.id
        return super().materials(**filters)

    def counts(self) -> dict[CandidateState, int]:
        """Return the number of candidates in each state, zeros included."""
        return self.database.counts(self.id)

    def pca_map(self, index: int = -1) -> PcaMap:
        """Return the PCA map of generated, picked and known structures.

        Args:
            index: index into :attr:`selections`; the last one by default.

        Raises:
            InputError: nothing has been selected yet, or there is no such selection.
            StoreError: the map is not in the store.
        """
        import numpy as np

        try:
            selection = self.selections[index]
        except IndexError:
            raise InputError(
                f"{self.name} has {len(self.selections)} selections: there is no map to draw"
            ) from None
        arrays = unpack_arrays(self._blob(selection.map, "the map"))
        pca = part(arrays, "pca", "the map")
        pool, sample = part(arrays, "pool", "the map"), part(arrays, "sample", "the map")
        place = {pool_id: n for n, pool_id in enumerate(selection.pool_ids)}
        row = {pair: n for n, pair in enumerate(zip(pool.tolist(), sample.tolist(), strict=True))}
        picked = [
            (record.id, row[key])
            for record in self.candidates().without_structures()
            if (key := (place.get(record.pool_id), record.sample_index)) in row
        ]
        return PcaMap(
            round=selection.round,
            pca=pca,
            label=part(arrays, "label", "the map"),
            pool_ids=list(selection.pool_ids),
            pool=pool,
            sample=sample,
            known_pca=arrays.get("known_pca", np.zeros((0, pca.shape[1]))),
            explained_variance=list(selection.explained_variance),
            candidate_ids=[identity for identity, _ in picked],
            picks=np.array([n for _, n in picked], dtype=int),
        )

    # --- charts ---------------------------------------------------------------------

    def plot_map(self, index: int = -1) -> go.Figure:
        """Return the PCA map as a plotly figure: clusters, picks, known structures, discoveries.

        Args:
            index: as :meth:`pca_map`.

        Raises:
            InputError: nothing has been selected yet, or there is nothing to draw.
        """
        from logan_campaign.results.report.charts import map_chart

        found = list(self.candidates().without_structures())
        return self._drawn(map_chart(self.pca_map(index), found), "map")

    def plot_energies(self) -> go.Figure:
        """Return the energies of converged candidates by level as a plotly figure.

        Raises:
            InputError: nothing has converged yet.
        """
        from logan_campaign.results.report.charts import energies_chart

        found = list(self.candidates().without_structures())
        record, per_atom = self.record, self.kind == "crystal"
        chart = energies_chart(found, record.references, record.levels, per_atom)
        return self._drawn(chart, "energy")

    def plot_hull(self) -> go.Figure:
        """Return the phase diagram of the campaign's hull as a plotly figure.

        Raises:
            InputError: there is no hull, since not all elements were computed.
        """
        from logan_campaign.results.report.phases import phase_diagram

        if self.record.hull is None:
            return self._drawn(None, "hull")
        query = self.candidates(level=self.record.hull.level).without_structures()
        return self._drawn(phase_diagram(self.record.hull, list(query)), "hull")

    def _drawn(self, figure: go.Figure | None, what: str) -> go.Figure:
        if figure is None:
            raise InputError(f"{self.name} has no {what} to draw")
        return figure
