"""First steps of a worker process, which :mod:`logan_campaign.flows.local.worker_pool` starts.

Arguments: the module search path as a JSON list, and the file descriptors of the connection
and of the lifeline. Nothing but the standard library is imported before the lifeline holds:
a worker whose runner dies while it is still importing shall not live on.
"""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def main() -> None:
    """Tie this process to its runner, then attend to it."""
    path, connection, lifeline = sys.argv[1:]
    # by its place: the path is not set yet, and the package would import more
    spec = spec_from_file_location("processes", Path(__file__).parents[1] / "processes.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.die_with_runner(int(lifeline))
    # The modules that the runner finds. An environment variable would do that, too, but
    # reach every program that a job starts.
    sys.path[:] = json.loads(path)
    from logan_campaign.flows.local import worker

    worker.main(int(connection))


if __name__ == "__main__":
    main()
