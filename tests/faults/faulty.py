"""ASE calculators that take time, hang or fail; targets of ``ASELevel``.

What has happened once is noted in files of the job's own directory, or of the directory in the
variable ``FAULTY``, so that it does not happen again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT


class Slow(EMT):
    """EMT; takes ``delay_s`` longer for each geometry."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__()
        self.delay_s = delay_s

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        time.sleep(self.delay_s)
        super().calculate(atoms, properties, system_changes)


class HangsOnce(EMT):
    """EMT; the first process in a directory never ends."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        note = Path("hung")
        if not note.exists():
            note.touch()
            time.sleep(10_000)
        super().calculate(atoms, properties, system_changes)


class DiesOften(EMT):
    """EMT; ends its process for the geometry whose C-O distance is above ``deadly`` (Å)."""

    def __init__(self, deadly: float) -> None:
        super().__init__()
        self.deadly = deadly

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        heavy = [a.position for a in atoms if a.number > 1]
        if sum((heavy[0] - heavy[1]) ** 2) ** 0.5 > self.deadly:
            os._exit(3)
        super().calculate(atoms, properties, system_changes)
