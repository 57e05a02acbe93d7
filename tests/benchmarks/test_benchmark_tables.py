"""The tables of the benchmarks' pages are those of the raw results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tables

MARKED = [page for page in sorted(tables.DOCS.glob("*.md")) if "<!-- table " in page.read_text()]


@pytest.mark.parametrize("page", MARKED, ids=lambda page: page.name)
def test_tables_are_those_of_the_raw_results(page: Path) -> None:
    assert tables.differences(page) == [], "run: python benchmarks/tables.py"


def test_the_pages_with_raw_results_are_checked() -> None:
    names = {page.stem for page in MARKED}
    assert names >= {"index", "cells", "match-rate", "molecules", "silica"}


def test_a_changed_figure_is_seen(tmp_path: Path) -> None:
    text = (tables.DOCS / "index.md").read_text()
    other = re.sub(r"(training step, c5h12o \| )\d", r"\g<1>9", text)
    assert other != text
    page = tmp_path / "page.md"
    page.write_text(other)
    assert len(tables.differences(page)) > 0
    assert tables.renewed(other) == text


def test_a_table_that_is_not_printed_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"speed\.py report prints 1 tables, not 2"):
        tables.renewed("<!-- table 2 of speed.py report -->\n\n")
    with pytest.raises(ValueError, match="no-such-word"):
        tables.renewed("<!-- table 1 of speed.py no-such-word -->\n\n")
