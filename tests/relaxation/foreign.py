"""Makers as other packages have them, with task documents like those of atomate2 and emmet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobflow import Flow, Maker, job
from monty.json import MSONable


class Cell(MSONable):
    """A nested setting."""

    def __init__(self, stretch: float = 1.0) -> None:
        self.stretch = stretch


@dataclass
class Stretch(Maker):
    """Stretch a structure; ``trouble`` says what goes wrong."""

    name: str = "stretch"
    cell: Cell = field(default_factory=Cell)
    trouble: str = ""
    relax_cell: bool = True

    @job
    def make(self, structure: Any, prev_dir: str | None = None) -> dict[str, Any]:
        """Return a task document, atoms sorted by element as VASP has them."""
        if self.trouble == "memory":
            raise MemoryError("none left")
        if self.trouble == "scf":
            raise RuntimeError("CalculationFailed")
        final = structure.get_sorted_structure() if hasattr(structure, "lattice") else structure
        if hasattr(final, "lattice"):
            final.scale_lattice(final.volume * self.cell.stretch**3)
        if self.trouble == "apart":
            final.translate_sites([0], [9.0, 0, 0])
        if self.trouble == "other atoms":
            final.remove_sites([0])
        energy = None if self.trouble == "no energy" else -1.5
        return {
            "state": "failed" if self.trouble == "unconverged" else "successful",
            "output": {"structure": final, "energy": energy},
        }


@dataclass
class Twice(Maker):
    """A flow of two relaxations."""

    name: str = "twice"
    maker: Stretch = field(default_factory=Stretch)

    def make(self, structure: Any) -> Flow:
        """Return a flow whose output is the second's."""
        first = self.maker.make(structure)
        second = self.maker.make(first.output["output"]["structure"])
        return Flow([first, second], second.output)
