"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors, whole_file, write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_only_when_the_new_one_is_complete(
    tmp_path: Path, durable: bool
) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old Å", durable)
    with whole_file(path, durable) as beside:
        beside.write_text("new")
        assert path.read_text(encoding="utf-8") == "old Å"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, b"old")

    def stop_half_way() -> None:
        with whole_file(path) as beside:
            beside.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        stop_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_of_the_same_number_left_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / f".a.txt.{os.getpid()}.part").write_text("left over, ")
    with whole_file(path) as beside, beside.open("a") as file:
        file.write("new")
    assert path.read_text() == "new"


def test_errors_of_the_file_system_are_one_line_for_the_user(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.txt"
    with (
        pytest.raises(InputError, match=r"^cannot write .*a\.txt: No such file") as raised,
        file_errors("write", path),
    ):
        write_atomically(path, "x")
    assert "\n" not in str(raised.value)
