# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes docs/commands.md from the help of the command line: `python -m planetmint.cli.reference`."""

import sys
from collections.abc import Iterator
from typing import cast

import typer
import typer.core
import typer.main

from planetmint.cli.main import PROGRAM, app

COMMAND = "python -m planetmint.cli.reference > docs/commands.md"

_WIDTH = 100

_INTRODUCTION = f"""# Commands

<!-- Made by `{COMMAND}`; change the help texts in src/planetmint/cli/ instead. -->

Results go to stdout; information, questions, warnings and errors to stderr. Exit codes: 0 for success, 1 for a
failure, 2 for wrong usage. The flags of `{PROGRAM}` itself stand before the command. Settings are described in
[configuration.md](configuration.md).

"""


def reference() -> str:
    """The whole document."""
    return _INTRODUCTION + "\n".join(_parts())


def _parts() -> Iterator[str]:
    group = typer.main.get_group(app)
    context = cast(typer.Context, group.make_context(PROGRAM, [], resilient_parsing=True, terminal_width=_WIDTH))
    yield from _group_parts(PROGRAM, group, context)


def _group_parts(title: str, group: typer.core.TyperGroup, context: typer.Context) -> Iterator[str]:
    yield _part(title, context.get_help())
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        made = command.make_context(name, [], parent=context, resilient_parsing=True, terminal_width=_WIDTH)
        below = cast(typer.Context, made)
        if isinstance(command, typer.core.TyperGroup):
            yield from _group_parts(f"{title} {name}", command, below)
        else:
            yield _part(f"{title} {name}", below.get_help())


def _part(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
