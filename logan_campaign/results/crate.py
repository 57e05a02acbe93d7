"""Export a campaign as an RO-Crate 1.1: everything needed to repeat it, with metadata.

See https://w3id.org/ro/crate/1.1. The crate is a folder, or that folder as a zip file, with
the spec, the software versions, the sets, the weights, the results and the archive that
``logan-campaign import`` reads.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ase.io import write as write_atoms

from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors, whole_file
from logan_campaign.geometry.structures import to_atoms
from logan_campaign.results import citations, export
from logan_campaign.results.campaign import Campaign
from logan_campaign.stores.archive import SUFFIX, write_archive
from logan_campaign.stores.records import ModelRecord, TrainingSetRecord

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

_NOT_PACKAGES = ("python", "platform")


def write_crate(campaign: Campaign, path: Path) -> int:
    """Write a campaign as an RO-Crate; return the number of files without the metadata.

    Args:
        campaign: the campaign.
        path: a new folder, or a file with the suffix '.zip'.

    Raises:
        InputError: the folder exists (a zip file is replaced), the path cannot be written, or
            the package rocrate is not installed.
        StoreError: data of the campaign are missing from the store.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as err:
        raise InputError("RO-Crate needs rocrate: pip install 'logan-campaign[crate]'") from err
    zipped = path.suffix.lower() == ".zip"
    if not zipped and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists: give a new folder, or a name ending in .zip")
    with (
        file_errors("write", path),
        tempfile.TemporaryDirectory(prefix="logan-campaign-") as temporary,
    ):
        folder = Path(temporary)
        crate = ROCrate(version="1.1")
        n_files = _Filler(campaign, crate, folder / "files").fill()
        if zipped:
            with whole_file(path) as beside:
                crate.write_zip(folder / "crate.zip")
                shutil.copyfile(folder / "crate.zip", beside)
        else:
            crate.write(folder / "crate")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder / "crate", path, dirs_exist_ok=True)
    return n_files


class _Filler:
    """Adds the files of a campaign to a crate.

    Args:
        campaign: the campaign.
        crate: the crate.
        folder: folder in which the files are created.
    """

    def __init__(self, campaign: Campaign, crate: ROCrate, folder: Path) -> None:
        self.campaign = campaign
        self.crate = crate
        self.folder = folder
        self._n_files = 0

    def fill(self) -> int:
        record = self.campaign.record
        crate = self.crate
        crate.name = f"Materials discovery campaign '{record.name}': {record.formula}"
        crate.description = (
            f"Campaign {record.id} ({record.kind}s of composition {record.formula}): an ensemble "
            f"of {len(record.model_ids)} LoGAN models, {record.n_candidates} candidates, "
            f"{record.n_materials} distinct relaxed structures."
        )
        crate.datePublished = record.updated_at or datetime.now(UTC).isoformat(timespec="seconds")
        crate.keywords = ["materials discovery", "structure prediction", record.formula]
        crate.license = self._entity(
            "#licence",
            "CreativeWork",
            name="Not stated",
            description="The results belong to their author, who may add a licence here; sets of "
            "structures have the licences named in their metadata.",
        )
        article = self._entity(
            citations.method_url(),
            "ScholarlyArticle",
            name=citations.method_title(),
            identifier=citations.method_url(),
            url=citations.method_url(),
        )
        crate.root_dataset["citation"] = article
        versions = self._versions()
        software = [
            self._entity(
                f"#software-{name}",
                "SoftwareApplication",
                name=name,
                version=", ".join(sorted(found)),
            )
            for name, found in sorted(versions.items())
            if name != "platform"
        ]
        spec = self._text(
            "spec.yaml",
            yaml.safe_dump(record.spec, sort_keys=False, allow_unicode=True),
            "application/yaml",
            "The campaign's spec with all settings",
        )
        self._text(
            "requirements.txt",
            "".join(
                f"{name}=={version}\n"
                for name, found in sorted(versions.items())
                for version in sorted(found)[:1]
                if name not in _NOT_PACKAGES
            ),
            "text/plain",
            "Versions of the packages that the results depend on",
        )
        self._text("README.md", self._readme(), "text/markdown", "How to read and repeat this")
        sets = [self._set(s) for s in (*self.campaign.training_sets, *self.campaign.known_sets)]
        models = [self._model(model) for model in self.campaign.models]
        results = self._results()
        archive = self._file(
            f"campaign{SUFFIX}",
            lambda path: write_archive(self.campaign.stores, record, path),
            "application/gzip",
            "All job documents, arrays and the runner's ledger, for 'logan-campaign import'",
        )
        self._entity(
            "#run",
            "CreateAction",
            name=f"Run of the campaign {record.name}",
            startTime=record.source.completed_at,
            endTime=record.updated_at,
            instrument=software,
            object=[spec, *sets],
            result=[*models, *results, archive],
        )
        return self._n_files

    # --- files ----------------------------------------------------------------------

    def _file(
        self,
        name: str,
        write: Callable[[Path], object],
        media_type: str,
        description: str,
        **properties: Any,
    ) -> Any:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        self._n_files += 1
        about = {
            "name": name,
            "description": description,
            "encodingFormat": media_type,
            "contentSize": str(path.stat().st_size),
            **properties,
        }
        return self.crate.add_file(path, dest_path=name, properties=about)

    def _text(self, name: str, text: str, media_type: str, description: str, **more: Any) -> Any:
        return self._file(
            name,
            lambda path: path.write_text(text, encoding="utf-8"),
            media_type,
            description,
            **more,
        )

    def _entity(self, entity_id: str, kind: str, **properties: Any) -> Any:
        from rocrate.model.contextentity import ContextEntity

        known = {key: value for key, value in properties.items() if value not in (None, "", [])}
        return self.crate.add(
            ContextEntity(self.crate, entity_id, properties={"@type": kind, **known})
        )

    def _set(self, record: TrainingSetRecord) -> Any:
        entries = self.campaign.structures(record.id)
        images = []
        for entry in entries:
            atoms = to_atoms(entry.structure)
            known = {"id": entry.id, "label": entry.label, "smiles": entry.smiles}
            atoms.info = {key: value for key, value in known.items() if value is not None}
            images.append(atoms)
        about = record.model_dump(mode="json", exclude={"structures", "source"})
        self._text(
            f"sets/{record.id}.json",
            json.dumps(about, indent=1),
            "application/json",
            f"Origin of the set '{record.name}', and rejected entries",
        )
        origin = record.origin
        more = {
            "license": origin.licence if origin else None,
            "citation": origin.citation if origin else None,
        }
        return self._file(
            f"sets/{record.id}.extxyz",
            lambda path: write_atoms(path, images, format="extxyz"),
            "chemical/x-xyz",
            f"{record.role} set '{record.name}': {record.n_structures} structures",
            **{key: value for key, value in more.items() if value},
        )

    def _model(self, record: ModelRecord) -> Any:
        about = record.model_dump(mode="json", exclude={"weights", "pools", "source"})
        document = self._text(
            f"models/{record.id}.json",
            json.dumps(about, indent=1),
            "application/json",
            f"Model {record.index}: hyperparameters, seed, training curves",
        )
        if record.state != "trained":
            return document
        weights = self.campaign.weights(record.id)
        return self._file(
            f"models/{record.id}.safetensors",
            lambda path: path.write_bytes(weights),
            "application/octet-stream",
            f"Weights of model {record.index}, as safetensors",
        )

    def _results(self) -> list[Any]:
        found = []
        query = self.campaign.candidates()
        if query:
            found.append(
                self._file(
                    "results/candidates.jsonl",
                    lambda path: export.write(query, path, "jsonl"),
                    "application/jsonl",
                    "All candidates with verdicts and relaxations, one per line",
                )
            )
        good = self.campaign.candidates(state=["new", "rediscovered"]).sorted_by("energy")
        if good:
            found.append(
                self._file(
                    "results/found.extxyz",
                    lambda path: export.write(good, path, "extxyz"),
                    "chemical/x-xyz",
                    "New and rediscovered structures, relaxed",
                )
            )
        materials = [material.model_dump(mode="json") for material in self.campaign.materials()]
        found.append(
            self._text(
                "results/materials.json",
                json.dumps(materials, indent=1),
                "application/json",
                "Distinct relaxed structures",
            )
        )
        return found

    # --- texts ----------------------------------------------------------------------

    def _versions(self) -> dict[str, set[str]]:
        """Return all versions that the jobs of the campaign recorded."""
        sources = [self.campaign.record.source, *(m.source for m in self.campaign.models)]
        for candidate in self.campaign.candidates().without_structures():
            sources += [relaxation.source for relaxation in candidate.relaxations]
        found: dict[str, set[str]] = {}
        for source in sources:
            for name, version in source.software.items():
                found.setdefault(name, set()).add(version)
        return found

    def _readme(self) -> str:
        record = self.campaign.record
        return (
            f"# {self.crate.name}\n\n{self.crate.description}\n\n"
            "| what | where |\n| --- | --- |\n"
            "| spec with all settings | `spec.yaml` |\n"
            "| software versions | `requirements.txt` |\n"
            "| sets of structures and their origin | `sets/` |\n"
            "| weights and training curves | `models/` |\n"
            "| candidates and materials | `results/` |\n"
            f"| everything, for `logan-campaign import` | `campaign{SUFFIX}` |\n\n"
            "Inspect it, and reproduce a candidate from the stored weights:\n\n"
            "    pip install -r requirements.txt\n"
            f"    logan-campaign import campaign{SUFFIX} --store {record.name}\n"
            f"    logan-campaign results {record.name}\n"
            f"    logan-campaign reproduce {record.name} CANDIDATE --retrain\n\n"
            "Run it again (files named in the spec must be at their paths):\n\n"
            "    logan-campaign run spec.yaml --store again\n"
        )
