"""What other campaigns of a store found and computed, so that a campaign need not repeat it."""

from __future__ import annotations

from pathlib import Path

from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.core.documents import ReferenceEnergy, StructureEntry
from logan_campaign.geometry.formulas import reduced_formula
from logan_campaign.geometry.structures import formula, structure_id
from logan_campaign.stores.open import CampaignStores
from logan_campaign.stores.queries import CampaignDatabase


def found_by_others(
    stores: CampaignStores, spec: CampaignSpec, campaign_id: str, base: Path = Path()
) -> list[StructureEntry]:
    """Return the new materials of other campaigns with the target compositions of a spec.

    Crystals may have cells of any size. Empty if the spec disables this comparison.

    Args:
        stores: opened stores.
        spec: a campaign's spec.
        campaign_id: its id; its own results are ignored.
        base: folder of relative paths in the spec.

    Returns:
        Relaxed structures, labelled by the candidate and the campaign that found them.
    """
    if not spec.match.other_campaigns:
        return []
    database = CampaignDatabase(stores)
    sought = sorted(spec.sought(base))
    if spec.target.structure_kind == "molecule":
        found = [m for name in sought for m in database.materials(state="new", formula=name)]
    else:  # in a cell of any size
        reduced = {reduced_formula(name) for name in sought}
        found = [
            m for m in database.materials(state="new") if reduced_formula(m.formula) in reduced
        ]
    entries = []
    for material in found:
        if material.kind != spec.target.structure_kind or campaign_id in material.campaign_ids:
            continue
        best = database.candidate(material.best_candidate_id)
        if best.structure is None:
            continue
        entries.append(
            StructureEntry(
                id=structure_id(best.structure),
                label=f"{best.id} of {best.campaign}",
                formula=formula(best.structure),
                structure=best.structure,
                smiles=best.smiles,
                spacegroup=best.spacegroup,
                energy_ev=best.energy_ev,
            )
        )
    return entries


def relaxed_references(stores: CampaignStores, spec: CampaignSpec) -> list[ReferenceEnergy]:
    """Return the energies of elements and competing phases at the level of a spec's hull.

    Args:
        stores: opened stores.
        spec: a campaign's spec.

    Returns:
        Converged ones of all campaigns, each once; empty if the spec asks for no hull.
    """
    if spec.relax.hull is None:
        return []
    wanted = {
        "output.doc_type": "reference",
        "output.references.level": spec.relax.levels[-1].name,
    }
    found = {
        reference["relaxation_id"]: ReferenceEnergy.model_validate(reference)
        for doc in stores.docs.query(wanted, ["output.references"])
        for reference in doc["output"]["references"]
        if reference.get("relaxation_id") and reference["state"] == "converged"
    }
    return list(found.values())
