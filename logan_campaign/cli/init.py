"""``logan-campaign init``: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from logan_campaign.cli.app import app
from logan_campaign.cli.common import refuse_existing, say
from logan_campaign.core.errors import InputError
from logan_campaign.core.files import file_errors, write_atomically

#: File beside a spec from which editors read its schema.
SCHEMA_FILE = "logan-campaign.schema.json"


@app.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors.

    Save it as logan-campaign.schema.json beside your specs: 'init' then refers to it in the first
    line of a new spec, where editors look for it.
    """
    import json

    from logan_campaign.campaign.spec import CampaignSpec

    typer.echo(json.dumps(CampaignSpec.json_schema(), indent=1, ensure_ascii=False))


@app.command()
def init(
    path: Annotated[
        Path, typer.Argument(help="File to write; its stem becomes the campaign's name.")
    ] = Path("campaign.yaml"),
    kind: Annotated[
        Literal["molecule", "cluster", "crystal", "slab"] | None,
        typer.Option(
            help="What the campaign looks for; by default as in --like, or molecules. A slab is "
            "that of --like, and the formula is put on it."
        ),
    ] = None,
    formula: Annotated[
        str | None, typer.Option(help="Composition of one molecule or one cell.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take composition and cell from a structure, which becomes a known one.",
        ),
    ] = None,
    cell: Annotated[
        Literal["given", "learned"] | None,
        typer.Option(help="With --like: keep the crystal's cell (default), or look for it too."),
    ] = None,
    charge: Annotated[int, typer.Option(help="Charge of a molecule or cluster (e).")] = 0,
    multiplicity: Annotated[
        int | None, typer.Option(help="Spin multiplicity of a molecule or cluster, 2S+1.")
    ] = None,
    method: Annotated[
        Literal["descent", "random"],
        typer.Option(help="How structures are made; random ones need no training set."),
    ] = "descent",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented spec for molecules, clusters, crystals or what is put on a slab.

    Training set and box or volume follow from the formula, given or that of a file; values that
    it does not determine are left to fill in.
    """
    from logan_campaign.campaign.spec_yaml import FILL_IN
    from logan_campaign.cli.starting import State, read_example, starting_spec
    from logan_campaign.geometry.formulas import hill_formula
    from logan_campaign.geometry.lewis import why_no_molecule

    example = None
    if kind == "slab" and (like is None or formula is None):
        raise InputError("a slab needs --like FILE, the slab, and --formula, what is put on it")
    if like is not None and kind == "cluster":
        raise InputError("--like is for molecules, crystals and slabs")
    if like is not None and kind != "slab":
        if formula is not None:
            raise InputError("give --formula or --like: the file says the formula")
        assert kind != "cluster"
        example = read_example(like, kind, cell != "learned")
        kind, formula = example.kind, example.formula
    kind = kind or "molecule"
    if cell is not None and (like is None or kind != "crystal"):
        raise InputError("--cell is for crystals with --like")
    formula = formula or ("C5H12O" if kind == "molecule" else "Si2O4")
    hill_formula(formula)  # raises if it is not a formula
    if kind in ("crystal", "slab") and (charge or multiplicity is not None):
        raise InputError("--charge and --multiplicity are for molecules and clusters")
    state = State(charge, multiplicity, like if kind == "slab" else None)
    closed = charge == 0 and (multiplicity or 1) == 1
    problem = why_no_molecule(formula) if kind == "molecule" and closed else None
    if problem:
        raise InputError(f"the spec would not be valid: target.formula: {formula} {problem}")
    refuse_existing(path, force)
    text, sets = starting_spec(
        kind, formula, path.stem, str(path), example, state, method == "random"
    )
    _check(text)
    if path.with_name(SCHEMA_FILE).exists():
        text = f"# yaml-language-server: $schema={SCHEMA_FILE}\n{text}"
    with file_errors("write", path):
        write_atomically(path, text)
    if method == "random":
        say("random structures: there is nothing to train")
    else:
        say(f"training set: {sets.about}")
    if FILL_IN in sets.training and method != "random":
        say(f"before it runs: fill in training.source in {path}")
    say(f"wrote {path}; edit it, then: logan-campaign run {path}")


def _check(text: str) -> None:
    """Refuse a file name or formula that is not valid in YAML or in a spec."""
    from pydantic import ValidationError

    from logan_campaign.campaign.spec import CampaignSpec
    from logan_campaign.campaign.spec_yaml import parse_yaml

    try:
        CampaignSpec.model_validate(parse_yaml(text))
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            f"the spec would not be valid: {where}: {first['msg']} (got {first['input']!r})"
        ) from err
