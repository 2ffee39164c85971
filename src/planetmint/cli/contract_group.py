# SPDX-License-Identifier: AGPL-3.0-or-later
"""The group of commands `contract`: arguments and help; the work is in `contract_run` and `contract_check`."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from planetmint.cli.console import warn
from planetmint.cli.context import read_configuration
from planetmint.model.parameters import ScriptMode, ZenroomMode
from planetmint.runtime.settings import Settings

group = typer.Typer(
    rich_markup_mode=None,
    help="Try contracts out: the same engine, walls and bounds as on a node, and no node is needed. A contract "
    "stands in the member `script` of a transaction of version 3.0, or in a zenroom condition. See "
    "docs/contracts.md.",
)

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="A JSON object that the contract is given as its data."),
]
Keys = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="A JSON object that it is given as its keys, as in a condition; scripts of version 3.0 have none.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]


def _one_of(choices: tuple[str, ...], value: str | None) -> str | None:
    if value is not None and value not in choices:
        raise typer.BadParameter(f"'{value}' is none of {', '.join(choices)}.")
    return value


def _known_zenroom(value: str | None) -> str | None:
    return _one_of(get_args(ZenroomMode), value)


def _known_scripts(value: str | None) -> str | None:
    return _one_of(get_args(ScriptMode), value)


def _load(context: typer.Context) -> Settings:
    """The settings; that there is no file of them is nothing to tell who only tries a contract."""
    configuration = read_configuration(context)
    warn(configuration.warnings)
    return configuration.settings


@group.command(
    "run",
    short_help="Run a contract and print what it prints.",
    epilog="""
    Example:

    \b
      $ cat double.zen
      Given I have a 'number' named 'count'
      When I create the result of 'count' + 'count'
      Then print the 'result'
      $ echo '{"count": 21}' > data.json
      $ planetmint contract run double.zen --data data.json
      {"result":42}

    Exit codes: 0 where the contract printed a JSON object, which is what a chain compares with the transaction;
    1 where it did not.
    """,
)
def _run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The contract in Zencode; `-` is stdin.")],
    data: Data = None,
    keys: Keys = None,
    no_bounds: Annotated[
        bool,
        typer.Option(
            "--no-bounds",
            help="Run what a chain would refuse unread, too, and for as long as it takes.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a contract as a node does, and print its output to stdout; the engine's messages, processor time and
    memory go to stderr. Random numbers are drawn from contract, data and keys, so that each run prints the same,
    here and on every node. Bounds on the text are those of the settings `chain.contracts.*`, those on the run are
    `contracts.*`."""
    from planetmint.cli.contract_run import run

    raise typer.Exit(run(_load(context), file, data, keys, bounded=not no_bounds, as_json=as_json))


@group.command(
    "check",
    short_help="Say whether a contract, or a transaction's contracts, are taken.",
    epilog="""
    Examples:

    \b
      planetmint contract check double.zen              is it within the bounds of a chain?
      planetmint contract check transaction.json        what do its contracts say?
      planetmint contract check tx.json --zenroom published

    Exit codes: 0 where nothing speaks against it, 1 where it would be refused.
    """,
)
def _check(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A transaction in JSON, or a contract in Zencode; `-` is stdin."),
    ],
    data: Data = None,
    keys: Keys = None,
    zenroom: Annotated[
        str | None,
        typer.Option(
            "--zenroom",
            metavar="MODE",
            callback=_known_zenroom,
            help="Check as on a chain whose contracts.zenroom is `bound`, `published` or `off`; else as on one "
            "that is founded here with these settings.",
        ),
    ] = None,
    scripts: Annotated[
        str | None,
        typer.Option(
            "--scripts",
            metavar="MODE",
            callback=_known_scripts,
            help="The same for contracts.scripts: `on` or `off`.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Of a contract in Zencode: hold its text against the bounds that a chain sets before anything is run: bytes,
    statements, numbers that set how much is done. Of a transaction: check its form and signatures, and run its
    contracts; where one is refused, show what was expected, what it printed, and the engine's messages. What needs
    a ledger (owners, amounts, double spends) is not checked: POST it with `?dry_run=true` to a node for that."""
    from planetmint.cli.contract_check import check

    settings = _load(context)
    modes = cast("ZenroomMode | None", zenroom), cast("ScriptMode | None", scripts)
    raise typer.Exit(check(settings, file, data, keys, modes, as_json=as_json))
