"""Entry point of worker processes started by :mod:`logan_campaign.flows.local.worker_pool`.

Arguments: the module search path as a JSON list, and the file descriptors of the connection
and of the lifeline. Only the standard library is imported before the lifeline is active, so that
a worker ends too if its runner dies while the worker is still importing.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """Tie this process to its runner, then run jobs."""
    path, connection, lifeline = sys.argv[1:]
    # loaded by path: the search path is not set yet, and the package would import more
    spec = spec_from_file_location("processes", Path(__file__).parents[1] / "processes.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.die_with_runner(int(lifeline))
    # The runner's module search path. An environment variable would also affect every
    # program that a job starts.
    sys.path[:] = json.loads(path)
    from logan_campaign.flows.local import worker

    worker.main(int(connection))


if __name__ == "__main__":
    main()
