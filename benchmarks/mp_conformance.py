"""Does the local Materials Project answer as the real server's own software does?

``emmet-api`` is the package that the Materials Project's server is made of. It wants other
versions of pymongo and FastAPI than this project, so it gets an environment of its own, made
with pip where it is not there; its database is a real ``mongod``. The same documents go into
both servers, and the same queries are pulled from both::

    python benchmarks/mp_conformance.py --environment ~/.cache/emmet-env

Exit code 1 if any answer differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import support  # noqa: F401  makes the next importable
from ase.build import bulk
from local_servers import LOCAL_KEY, MaterialsProjectServer, summary_documents
from mongod import NO_MONGOD, Server, free_port, mongod_program

from logan_campaign.sources import MaterialsProjectSource, set_id

REQUIREMENTS = ("emmet-api==0.87.3", "uvicorn")

QUERIES: tuple[dict[str, Any], ...] = (
    {"formulas": ["ZnO", "MgO"]},
    {"formulas": ["Zn2O2"]},
    {"chemical_systems": ["O-Mg"]},
    {"chemical_systems": ["Mg-O", "O-Zn"]},
    {"material_ids": ["mp-900002", "mp-900005"]},
    {"formulas": ["ZnO"], "energy_above_hull": (0.004, 0.012)},
    {"formulas": ["ZnO", "MgO"], "n_atoms": (1, 2)},
    {"formulas": ["ZnO", "MgO"], "n_atoms": (3, 20)},
    {"formulas": ["ZnO", "MgO"], "experimental": True},
    {"formulas": ["ZnO", "MgO"], "experimental": False},
)

_SERVER = """
import json, sys
import uvicorn
from pymongo import AsyncMongoClient, MongoClient
from emmet.api.core.api import MAPI
from emmet.api.resource.utils import CollectionWithKey
from emmet.api.routes.materials.summary.resources import summary_resource

mongo, port, documents = sys.argv[1], int(sys.argv[2]), json.load(open(sys.argv[3]))
collection = MongoClient(mongo)["mp"]["summary"]
collection.drop()
collection.insert_many(documents)
resource = summary_resource(CollectionWithKey(AsyncMongoClient(mongo)["mp"]["summary"]))
resource.hint_scheme = None  # its hints name indexes of the real database
uvicorn.run(MAPI(resources={"materials": [resource]}).app, port=port, log_level="error")
"""


def environment(folder: Path) -> Path:
    """Return the Python of the environment that has emmet-api, made if absent."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    probe = subprocess.run([str(python), "-c", "import emmet.api, uvicorn"], capture_output=True)
    if probe.returncode:
        install = [str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS]
        subprocess.run(install, check=True)
    return python


@contextmanager
def emmet(python: Path, mongo: str, documents: list[dict[str, Any]]) -> Iterator[str]:
    """Run the Materials Project's own server over these documents; yields its address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.json"
        path.write_text(json.dumps(documents))
        command = [str(python), "-c", _SERVER, mongo, str(port), str(path)]
        server = subprocess.Popen(command)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url + "/heartbeat", server)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"emmet-api ended with {server.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise SystemExit("emmet-api does not answer")


def full_documents() -> list[dict[str, Any]]:
    """Return summary documents with what emmet-api asks about besides."""
    crystals = []
    for index in range(6):
        name, kind = (("ZnO", "zincblende"), ("MgO", "rocksalt"))[index % 2]
        crystals.append(bulk(name, kind, a=4.2 + 0.1 * index, cubic=index > 3))
    documents = summary_documents(crystals)
    for document in documents:
        elements = document["chemsys"].split("-")
        document["composition_reduced"] = dict.fromkeys(elements, 1.0)
        document["elements"] = elements
    return documents


def pulled(url: str, query: dict[str, Any]) -> dict[str, Any]:
    """Return what a pull from a server gives, with a cache of its own."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LOGAN_CAMPAIGN_CACHE"] = cache
        os.environ["MP_API_ENDPOINT"] = url + "/"
        loaded = MaterialsProjectSource.model_validate(query).load()
    return {
        "set": set_id(loaded.entries),
        "records": sorted((record.label, record.hash) for record in loaded.records),
        "rejected": [rejection.label for rejection in loaded.rejected],
    }


def main() -> None:
    """Compare, and say how."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "emmet")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if mongod_program() is None:
        raise SystemExit(NO_MONGOD)
    os.environ["MP_API_KEY"] = LOCAL_KEY
    os.environ["NO_PROXY"] = "127.0.0.1"
    python = environment(arguments.environment)
    documents = full_documents()
    results = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "mongod") as mongo,
        emmet(python, mongo.uri, documents) as theirs,
        MaterialsProjectServer(documents) as ours,
    ):
        for query in QUERIES:
            real, local = pulled(theirs, query), pulled(ours.url, query)
            n = len(real["records"])
            results.append({"query": query, "same": real == local, "structures": n})
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for result in results:
            print("same " if result["same"] else "DIFFERS", result["structures"], result["query"])
    sys.exit(not all(result["same"] for result in results))


if __name__ == "__main__":
    main()
