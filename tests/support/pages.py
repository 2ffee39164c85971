# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reads a page of the manual as what a reader would do with it: files to save, lines to type, answers to expect.

In the pages that are read so, each fenced block is one of these:

- a file: the line before it ends in its name, "`invoice.zen`:";
- ``python``: to be run; blocks go on where the one before ended;
- ``console``: commands after ``$ ``, each followed by what it prints;
- ``text``: what the block before it prints.

In what is printed, ``…`` stands for anything within a line, and a line of ``…`` alone for any number of lines.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"((?:^[^\n]*\n)?^\n?)^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"`([\w.-]+\.[a-z]+)`:\s*$")


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: As it stands after the fence; empty where none does.
        text: Its lines.
        name: Of the file that it is to be saved as, if any.
        line: Where it begins in the page, from 1.
    """

    language: str
    text: str
    name: str | None
    line: int


class Typed(NamedTuple):
    """A command, its further lines included, and what it is said to print."""

    command: str
    printed: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        named = _NAME.search(found[1])
        yield Block(found[2], found[3], named[1] if named else None, text.count("\n", 0, found.start(3)))


def typed(block: Block) -> list[Typed]:
    """The commands of a ``console`` block."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a command"
    made = []
    for part in parts[1:]:
        command, _, printed = part.partition("\n")
        while command.endswith("\\"):
            more, _, printed = printed.partition("\n")
            command += "\n" + more
        made.append(Typed(command, printed))
    return made


def fits(printed: str, shown: str) -> bool:
    """Whether `printed` is what the page shows, where ``…`` stands for what the page leaves out."""
    pattern = ""
    for line in shown.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(map(re.escape, line.rstrip().split("…"))) + r"\s*\n"
    return re.fullmatch(pattern, printed.strip() + "\n") is not None


def run_program(page: Path) -> None:
    """Run the blocks of Python as one program, each against the ``text`` after it.

    Raises:
        AssertionError: A block printed something else than the page shows.
        Exception: Whatever a block raises.
    """
    names: dict[str, object] = {"__name__": "__page__"}
    printed = ""
    for block in blocks(page):
        if block.language == "python" and block.name is None:
            out = io.StringIO()
            # Line numbers in a stack are those of the page.
            program = compile("\n" * block.line + block.text, page.name, "exec")
            with contextlib.redirect_stdout(out):
                exec(program, names)
            printed = out.getvalue()
        elif block.language == "text":
            assert fits(printed, block.text), f"{page.name}, line {block.line}: it prints\n{printed}"
