# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands `status`, `verify`, `backup` and `restore`: arguments and help; the work is elsewhere."""

import re
from typing import Annotated

import typer

from planetmint.cli.context import load

_HASH = re.compile(r"[0-9a-fA-F]{64}")


def add_commands(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command("status", short_help="Say how the node is.", epilog=_STATUS_CODES)(_status)
    app.command("verify", short_help="Check everything that the database holds.", epilog=_VERIFY)(_verify)
    app.command("backup", short_help="Write the ledger into a file.", epilog=_BACKUP)(_backup)
    app.command("restore", short_help="Fill an empty database from a backup.", epilog=_RESTORE)(_restore)


_STATUS_CODES = """
Exit codes: 0 the node runs and takes transactions; 3 it does not run; 4 it runs, and its database or engine
cannot be reached, it catches up with other nodes, or its chain is halted.
"""

_VERIFY = """
Examples:

\b
  planetmint verify                           check everything
  planetmint verify --from 900000             check the newest blocks alone
  planetmint verify 2>/dev/null | jq .found   what is wrong, and where
"""

_BACKUP = """
Examples:

\b
  planetmint backup ledger.backup
  planetmint backup - | ssh vault 'cat > ledger.backup'
"""

_RESTORE = """
Examples:

\b
  planetmint restore ledger.backup
  planetmint restore ledger.backup --height 5000
  ssh vault 'cat ledger.backup' | planetmint restore -
"""


def _status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Say on one page how the node is: whether it runs, its chain, newest block, validators, engine, peers,
    database, and a migration that waits. Works while the node is down, too."""
    from planetmint.cli.status import status

    raise typer.Exit(status(load(context), as_json=as_json))


def _verify(
    context: typer.Context,
    start: Annotated[
        int,
        typer.Option(
            "--from",
            metavar="HEIGHT",
            min=0,
            help="Check signatures and stored records from this block on; those below are only followed.",
        ),
    ] = 0,
) -> None:
    """Derive everything that the database holds again from its transactions: ids, signatures, rules, outputs,
    elections, headers and app hashes, and hold every stored record and index against that. The node may run.
    Differences go to stderr as they are found, a summary in JSON to stdout; with any the exit code is 1."""
    from planetmint.cli.verify import verify

    raise typer.Exit(0 if verify(load(context), start) else 1)


def _backup(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="FILE", help="The file to write; `-` is stdout.")],
) -> None:
    """Write all blocks with their transactions into one file, from which `restore` makes the same ledger. The node
    may run; blocks that come meanwhile are not in it. The file is there when it is whole. Keys are not in it."""
    from planetmint.cli.transfer import backup

    backup(load(context), target)


def _restore(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE", help="What `backup` wrote; `-` is stdin.")],
    height: Annotated[
        int | None,
        typer.Option("--height", metavar="HEIGHT", min=0, help="Take the blocks up to this one alone."),
    ] = None,
    app_hash: Annotated[
        str | None,
        typer.Option(
            "--expect-app-hash", metavar="HASH", help="Restore only what ends in this app hash, 64 hex digits."
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--expect-head",
            metavar="HASH",
            help="Restore only what ends in the block whose header has this hash, as `backup` prints it.",
        ),
    ] = None,
) -> None:
    """Fill an empty database from a backup. The node must not run. All hashes are derived again from the
    transactions, and nothing is kept unless they fit. Interrupted, it can be run again."""
    from planetmint.cli.transfer import Expected, restore

    restore(load(context), source, Expected(height, _checked(app_hash), _checked(head)))


def _checked(text: str | None) -> str | None:
    if text is not None and not _HASH.fullmatch(text):
        raise typer.BadParameter(f"'{text}' is no hash: it has 64 hex digits.")
    return text
