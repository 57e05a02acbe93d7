"""Every command is documented with what it prints; links lead somewhere; the site builds."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from logan_campaign import __version__
from logan_campaign.campaign.spec import CampaignSpec
from logan_campaign.cli.app import app, load_commands
from logan_campaign.generators.models import METHODS
from logan_campaign.relaxation.base import LEVELS
from logan_campaign.results import citations
from logan_campaign.selection import STRATEGIES
from logan_campaign.sources import SOURCES

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


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
    parameters = command.get_params(command.context_class(command))  # with those of filters
    known = {name for each in parameters for name in (*each.opts, *each.secondary_opts)}
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


def test_the_code_names_pages_that_exist() -> None:
    for folder in ("logan_campaign", "flows", "stores", "tests", "benchmarks", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text(encoding="utf-8")):
                assert (ROOT / page).exists(), f"{path.relative_to(ROOT)}: {page}"


def test_specs_in_the_tutorial_are_those_that_run() -> None:
    text = (ROOT / "docs/tutorials/first-campaign.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    example = (ROOT / "examples/quick.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(shown[0]) == yaml.safe_load(example)


def test_the_citation_file_cites_this_version_and_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    paper, entry = cited["preferred-citation"], citations.method()
    assert paper["title"] == citations.method_title()
    found = [paper["journal"], str(paper["year"]), paper["volume"], paper["start"]]
    assert found == [entry.fields[name] for name in ("journal", "year", "volume", "pages")]
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert names == [str(person) for person in entry.persons["author"]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation site, built as scripts/docs does: a warning is an error."""
    pytest.importorskip("material", reason="mkdocs-material is not installed (extra dev)")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about themselves
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


class Loads(HTMLParser):
    """Collects what a browser would load for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.addresses.append(given.get("src") or "")
        if tag == "link":
            self.addresses.append(given.get("href") or "")


def test_the_site_loads_nothing_from_a_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert len(loads.addresses) > 1
        foreign = [found for found in loads.addresses if re.match(r"(https?:)?//", found)]
        assert foreign == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(
            r"(url\(|@import )['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")
        ), sheet.name


def test_the_site_has_every_key_of_the_spec_with_its_meaning(site: Path) -> None:
    text = (site / "reference/spec.html").read_text(encoding="utf-8")
    rows = [re.sub(r"<[^>]+>", "", row) for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL)]
    keys = {row.split()[0] for row in rows}
    schema = CampaignSpec.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert set(model.get("properties", ())) <= keys
    for registry in (LEVELS, METHODS, SOURCES, STRATEGIES):
        for name in registry.names:
            assert f"{registry.key}: {name}" in text, f"{registry.what} {name}"
    fmax = next(row for row in rows if row.split()[0] == "fmax")
    assert "eV/Å" in fmax


def test_the_site_describes_the_public_classes(site: Path) -> None:
    text = (site / "reference/api/results.html").read_text(encoding="utf-8")
    for name in ("Campaign.candidates", "CandidateQuery.to_ase", "Results.open"):
        assert f"{name}" in text
