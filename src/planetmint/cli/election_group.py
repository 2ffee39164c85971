# SPDX-License-Identifier: AGPL-3.0-or-later
"""The group of commands `election`: arguments and help; the work is in `planetmint.cli.election`."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from planetmint.app.ballots import Version
from planetmint.cli.context import load


def _known_dialect(version: str) -> str:
    if version not in get_args(Version):
        raise typer.BadParameter(f"'{version}' is neither '3.0' nor '2.0'.")
    return version


group = typer.Typer(rich_markup_mode=None, help="Decide together with the other validators.")
new = typer.Typer(rich_markup_mode=None, help="Propose something to the validators.")
group.add_typer(new, name="new", short_help="Propose something to the validators.")

KeyFile = Annotated[
    Path,
    typer.Option(
        "--private-key",
        metavar="FILE",
        help="The validator's key file, priv_validator_key.json: in the data folder of a node that makes its own "
        "blocks, else in the folder config of the engine's home.",
    ),
]
Dialect = Annotated[
    str,
    typer.Option(
        "--version",
        metavar="VERSION",
        callback=_known_dialect,
        help="Dialect of the transaction: `3.0` or `2.0`.",
    ),
]
ElectionId = Annotated[str, typer.Argument(metavar="ELECTION_ID", help="The election's id, 64 hex digits.")]


@new.command("upsert-validator", short_help="Add a validator, change its power, or remove it.")
def _upsert_validator(
    context: typer.Context,
    public_key: Annotated[str, typer.Argument(metavar="PUBLIC_KEY", help="The validator's public key in base64.")],
    power: Annotated[
        int,
        typer.Argument(metavar="POWER", help="Its new power, less than a third of all present power; 0 removes."),
    ],
    node_id: Annotated[
        str, typer.Argument(metavar="NODE_ID", help="Its node's id, 40 hex digits; kept for information.")
    ],
    private_key: KeyFile,
    version: Dialect = "3.0",
) -> None:
    """Propose to the validators to give a key a power. The node must run. The change is made with the block that
    holds votes of two thirds of all power; see `election approve`."""
    from planetmint.cli.election import new_validator

    new_validator(load(context), public_key, power, node_id, private_key, cast(Version, version))


@new.command("chain-migration", short_help="End the chain under its present name.")
def _chain_migration(context: typer.Context, private_key: KeyFile, version: Dialect = "3.0") -> None:
    """Propose to the validators to stop the chain, so that it can go on under a new name with another engine. The
    node must run. See `election migrate`, and docs/elections.md."""
    from planetmint.cli.election import new_migration

    new_migration(load(context), private_key, cast(Version, version))


@group.command("approve", short_help="Vote for an election.")
def _approve(
    context: typer.Context, election_id: ElectionId, private_key: KeyFile, version: Dialect = "3.0"
) -> None:
    """Vote for an election with all votes in it that the key holds. The node must run."""
    from planetmint.cli.election import approve

    approve(load(context), election_id.lower(), private_key, cast(Version, version))


@group.command("show", short_help="Print how an election stands.")
def _show(context: typer.Context, election_id: ElectionId) -> None:
    """Print an election and its status: `ongoing`, `concluded`, or `inconclusive` where the validators changed
    meanwhile. Read from the database, whether the node runs or not. After a decided chain migration also what the
    genesis file of the new engine needs, until the chain goes on."""
    from planetmint.cli.election import show_election

    show_election(load(context), election_id.lower())


@group.command("migrate", short_help="Prepare the engine for a decided chain migration.")
def _migrate(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", metavar="FOLDER", help="Home folder of an engine that somebody else starts; else the node's."
        ),
    ] = None,
) -> None:
    """Prepare the engine to go on with the chain under its new name, once the validators have decided that: puts
    the engine's data aside and writes its new genesis file; keys and peers stay. Neither node nor engine may run.
    May be repeated, and carries on where it was interrupted."""
    from planetmint.cli.migration import migrate

    migrate(load(context), home)
