"""Servers on loopback that stand for those on the internet, with faults on demand.

They answer what the real clients send (``mp_api``'s MPRester, a download with range
requests): the client code that runs against them is the client code that users run.
Run as a program, it serves a Materials Project of one's own from files that ASE reads:

    python tests/support/local_servers.py mp sio2/*_training.extxyz
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read

#: The only key that the local Materials Project takes; of the right length, and no secret.
LOCAL_KEY = "local-key-for-tests-000000000000"

#: What a fault does instead of the answer: a status, headers and a body; or None, and the
#: connection is dropped.
Answer = tuple[int, dict[str, str], bytes] | None
Fault = Callable[[str], "Answer | bool"]


class LocalServer:
    """A server on a free port of loopback, in a thread of this process.

    Attributes:
        url: where it listens.
        requests: path and query of every request so far.
        faults: what goes wrong, one per request from now on, then nothing: a callable on
            the request's path that returns an answer, None to drop the connection, or False to
            let the request pass (and stay in wait for the next).
    """

    def __init__(self) -> None:
        outer = self
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.headers_seen: list[dict[str, str]] = []
        self._lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._respond(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # a client that goes away in mid-answer is what some tests are about
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.daemon = True

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; connections that are open end."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> LocalServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """Return what a request is answered with."""
        raise NotImplementedError

    def _respond(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {key.lower(): value for key, value in handler.headers.items()}
        with self._lock:
            self.requests.append(handler.path)
            self.headers_seen.append(headers)
            faults = list(self.faults)
        found: Answer | bool = False
        for fault in faults:
            found = fault(handler.path)
            if found is not False:
                with self._lock:
                    if fault in self.faults:
                        self.faults.remove(fault)
                break
        if found is False:
            parts = urllib.parse.urlsplit(handler.path)
            query = dict(urllib.parse.parse_qsl(parts.query))
            found = self.answer(parts.path, query, headers)
        if found is None:
            handler.close_connection = True
            handler.connection.close()
            return
        assert not isinstance(found, bool)
        status, sent, body = found
        try:
            handler.send_response(status)
            # a fault may promise more than it sends
            for key, value in {"Content-Length": str(len(body)), **sent}.items():
                handler.send_header(key, value)
            handler.end_headers()
            handler.wfile.write(body)
            if int(sent.get("Content-Length", len(body))) != len(body):
                handler.close_connection = True
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True


def status(code: int, **headers: str) -> Fault:
    """Return a fault: an answer with this status."""
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda _: (code, sent, json.dumps({"detail": f"injected {code}"}).encode())


def dropped(_: str) -> Answer:
    """A fault: the connection is lost before an answer."""
    return None


def truncated_json(_: str) -> Answer:
    """A fault: an answer that ends in the middle."""
    return 200, {"Content-Type": "application/json"}, b'{"data": [{"material_id": "mp-'


def on(part: str, fault: Fault) -> Fault:
    """Return a fault that waits for a request with ``part`` in its address."""
    return lambda path: fault(path) if part in urllib.parse.unquote(path) else False


class MaterialsProjectServer(LocalServer):
    """Answers what ``MPRester.materials.summary.search`` asks.

    Attributes:
        documents: summary documents by material id (mp-149); may be changed while it runs.
        db_version: version of the database.
        page: most documents in one answer.
    """

    def __init__(self, documents: Sequence[dict[str, Any]], key: str = LOCAL_KEY) -> None:
        super().__init__()
        self.documents = {legacy_id(doc["material_id"]): doc for doc in documents}
        self.db_version = "made-up-2026.11"
        self.page = 1000
        self._key = key

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """See :meth:`LocalServer.answer`."""
        if path == "/heartbeat":
            about = {"status": "OK", "version": "0.87.3", "db_version": self.db_version}
            return _json(200, {**about, "access_controlled_batch_ids": []})
        if headers.get("x-api-key") != self._key:
            return _json(401, {"detail": "Invalid authentication credentials"})
        if path != "/materials/summary/":
            return _json(404, {"detail": f"no such resource {path}"})
        found = [doc for doc in self.documents.values() if _meets(doc, query)]
        start = int(query.get("_skip", 0))
        shown = found[start : start + min(int(query.get("_limit", 100)), self.page)]
        fields = query["_fields"].split(",") if "_fields" in query else None
        data = [{k: v for k, v in doc.items() if fields is None or k in fields} for doc in shown]
        return _json(200, {"data": data, "meta": {"total_doc": len(found)}})


def _json(status: int, document: Any) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _meets(doc: dict[str, Any], query: dict[str, str]) -> bool:
    for key, value in query.items():
        if key.startswith("_"):
            continue
        if key == "formula":
            met = doc["formula_pretty"] in value.split(",")
        elif key == "chemsys":
            met = doc["chemsys"] in value.split(",")
        elif key == "material_ids":
            met = legacy_id(doc["material_id"]) in map(legacy_id, value.split(","))
        elif key == "theoretical":
            met = doc["theoretical"] == (value.lower() == "true")
        elif key.endswith("_min"):
            met = doc[key.removesuffix("_min")] >= float(value)
        elif key.endswith("_max"):
            met = doc[key.removesuffix("_max")] <= float(value)
        else:
            raise ValueError(f"a query for {key} is not foreseen")
        if not met:
            return False
    return True


def remembered_fields() -> property:
    """Return a stand-in for mp_api's ``SummaryRester.available_fields`` that works once.

    mp_api derives the list from its models for every field of every request, which takes
    most of the time of a small pull.
    """
    from mp_api.client.routes.materials.summary import SummaryRester

    found: list[list[str]] = []
    derive = SummaryRester.available_fields.fget

    def fields(rester: SummaryRester) -> list[str]:
        if not found:
            found.append(derive(rester))
        return found[0]

    return property(fields)


def legacy_id(name: str) -> str:
    """Return a material id as people write it: mp-149 for mp-aaaaaaft."""
    from emmet.core.types.typing import format_identifier

    return str(format_identifier(name, legacy=True))


def summary_documents(crystals: Sequence[Atoms], first_id: int = 900001) -> list[dict[str, Any]]:
    """Return summary documents of crystals, as the Materials Project lays them out.

    Ids, energies, hull energies and dates are MADE UP: they say nothing of the crystals.
    """
    from emmet.core.types.typing import format_identifier
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    documents = []
    for index, atoms in enumerate(crystals):
        structure = AseAtomsAdaptor.get_structure(
            Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        )
        symmetry = SpacegroupAnalyzer(structure, 0.1)
        composition = structure.composition
        documents.append(
            {
                # as the real database has it: mp-aaaaaaft
                "material_id": format_identifier(f"mp-{first_id + index}", legacy=False),
                "formula_pretty": composition.reduced_formula,
                "chemsys": composition.chemical_system,
                "nsites": len(structure),
                "nelements": len(composition.elements),
                "energy_above_hull": round(0.02 * index / max(len(crystals) - 1, 1), 6),
                "energy_per_atom": -7.9 + 1e-4 * index,
                "theoretical": index % 2 == 0,
                "deprecated": False,
                "symmetry": {
                    "symbol": symmetry.get_space_group_symbol(),
                    "number": symmetry.get_space_group_number(),
                },
                "volume": structure.volume,
                "density": float(structure.density),
                "last_updated": "2026-01-01T00:00:00",
                "builder_meta": {"license": "BY-C"},
                "structure": structure.as_dict(),
                "warnings": ["made up for a local server"],
            }
        )
    return documents


class FileServer(LocalServer):
    """Serves files by name, whole or by range.

    Attributes:
        files: content by name; may be changed while it runs.
        ranges: whether range requests are honoured.
        drop_after: bytes after which the next answers break off, one entry per answer.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.files = files
        self.ranges = True
        self.drop_after: list[int] = []

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """See :meth:`LocalServer.answer`."""
        content = self.files.get(path.lstrip("/"))
        if content is None:
            return 404, {}, b"not here"
        sent = {"ETag": f'"{hash(content):x}"'}
        start, code = 0, 200
        if self.ranges:
            sent["Accept-Ranges"] = "bytes"
            asked = headers.get("range", "")
            same = headers.get("if-range", sent["ETag"]) == sent["ETag"]
            if asked.startswith("bytes=") and same:
                start, code = int(asked.removeprefix("bytes=").split("-")[0]), 206
                if start >= len(content):
                    return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
                sent["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        sent["Content-Length"] = str(len(body))
        if self.drop_after:
            body = body[: self.drop_after.pop(0)]
        return code, sent, body


class ForwardingServer(LocalServer):
    """Hands requests on to another server on loopback, except where a fault says otherwise.

    Args:
        target: address of the other server.
        **defaults: parameters that requests have where they do not say otherwise.
    """

    def __init__(self, target: str, **defaults: str) -> None:
        super().__init__()
        self._target = target.rstrip("/")
        self._defaults = defaults

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """See :meth:`LocalServer.answer`."""
        address = f"{self._target}{path}?{urllib.parse.urlencode({**self._defaults, **query})}"
        # by the same host name, so that links to the next page lead here
        request = urllib.request.Request(address, headers={"Host": headers["host"]})
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                return found.status, {"Content-Type": "application/json"}, found.read()
        except urllib.error.HTTPError as err:
            return err.code, {"Content-Type": "application/json"}, err.read()


def optimade_lines(crystals: Sequence[Atoms]) -> str:
    """Return crystals in OPTIMADE's JSON lines, as its reference server reads them.

    Ids and dates are MADE UP.
    """
    from optimade.adapters import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    lines = [json.dumps({"x-optimade": {"meta": {"api_version": "1.1.0"}}})]
    for index, atoms in enumerate(crystals):
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        entry = Structure.ingest_from(AseAtomsAdaptor.get_structure(bare)).entry
        attributes = json.loads(entry.attributes.model_dump_json())
        attributes["last_modified"] = {"$date": "2026-01-01T00:00:00Z"}
        lines.append(
            json.dumps({"id": f"made-up-{index}", "type": "structures", "attributes": attributes})
        )
    return "\n".join(lines) + "\n"


@contextmanager
def optimade_server(lines: Path) -> Iterator[str]:
    """Run the reference server of ``optimade`` over JSON lines; yields its address."""
    import socket

    import uvicorn
    from optimade.server.config import ServerConfig
    from optimade.server.create_app import create_app

    config = ServerConfig(
        insert_test_data=False,
        insert_from_jsonl=lines,
        database_backend="mongomock",
        log_dir=lines.parent,
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(create_app(config), log_level="error", ws="none", loop="asyncio")
        )
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def crystals_from(paths: Sequence[str | Path]) -> list[Atoms]:
    """Return the distinct crystals of files, in the order of the files."""
    from logan_campaign.geometry.structures import structure_id

    found: dict[str, Atoms] = {}
    for path in paths:
        frames = read(path, ":")
        for atoms in frames if isinstance(frames, list) else [frames]:
            found.setdefault(structure_id(atoms), atoms)
    return list(found.values())


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["mp", "files"])
    parser.add_argument("paths", nargs="+", help="structures (mp), or files to serve")
    arguments = parser.parse_args()
    server: LocalServer
    if arguments.kind == "mp":
        server = MaterialsProjectServer(summary_documents(crystals_from(arguments.paths)))
        print(f"export MP_API_ENDPOINT={server.url}/ MP_API_KEY={LOCAL_KEY} NO_PROXY=127.0.0.1")
    else:
        server = FileServer({Path(p).name: Path(p).read_bytes() for p in arguments.paths})
        print(server.url)
    with server:
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
