"""Commands start without what only some of them need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("jax", "sklearn", "scipy.stats", "matplotlib", "plotly", "fastapi", "optimade", "tblite")


def test_the_command_line_brings_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from logan_campaign.cli.app import load_commands\n"
        "load_commands()\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == ""
