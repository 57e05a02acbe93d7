"""Every command is documented with what it prints, and the documents use options that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from logan_campaign.cli.app import app, load_commands

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def examples() -> Iterator[tuple[str, list[str], str]]:
    """Yield page, words and output of every command that the documents show."""
    for page in PAGES:
        blocks = re.findall(
            r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        for block in blocks:
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE):
                line, _, output = part.partition("\n")
                words = shlex.split(line.split("|")[0].split(">")[0], comments=True)
                if words[:1] == ["logan-campaign"]:
                    yield page.name, words[1:], output.strip()


def command_of(words: list[str]) -> tuple[tuple[str, ...], Any]:
    """Return the name of the command that words call, and the command."""
    command = ROOT_COMMAND
    name: list[str] = []
    for word in words:
        # typer brings its own copy of click's classes
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
        name.append(word)
    return tuple(name), command


def leaves(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the names of all commands below one."""
    if not hasattr(command, "commands"):
        yield name
        return
    for word, member in command.commands.items():
        if not member.hidden:
            yield from leaves(member, (*name, word))


load_commands()
ROOT_COMMAND: Any = typer.main.get_command(app)
EXAMPLES = list(examples())


@pytest.mark.parametrize("name", sorted(leaves(ROOT_COMMAND)), ids=" ".join)
def test_every_command_is_shown_with_its_output(name: tuple[str, ...]) -> None:
    shown = [(page, output) for page, words, output in EXAMPLES if command_of(words)[0] == name]
    assert shown, f"no page shows 'logan-campaign {' '.join(name)}'"
    assert any(output for _, output in shown), f"no page shows what {' '.join(name)} prints"


@pytest.mark.parametrize(
    ("page", "words"), [(page, words) for page, words, _ in EXAMPLES], ids=lambda value: str(value)
)
def test_documented_options_exist(page: str, words: list[str]) -> None:
    name, command = command_of(words)
    assert name, f"{page}: there is no command {words[:1]}"
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    known |= {"--help", "-h"}
    for word in words[len(name) :]:
        option = word.split("=")[0]
        if option.startswith("-") and not re.fullmatch(r"-\d.*", option):
            assert option in known, f"{page}: {' '.join(name)} has no option {option}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_other_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s:]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        file, _, anchor = link.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {link}"
