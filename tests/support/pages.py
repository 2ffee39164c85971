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
import subprocess
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_FENCE = re.compile(r"((?:^[^\n]*\n)?^\n?)^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATIENCE = 120
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
    """Whether `printed` is what the page shows, where ``…`` stands for what the page leaves out.

    How wide columns are does not count.
    """
    pattern = ""
    for line in _lines(shown):
        if line == "…":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(map(re.escape, line.split("…"))) + r"\n"
    lines = _lines(printed)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _lines(text: str) -> list[str]:
    return [re.sub(" +", " ", line.rstrip()) for line in text.strip().splitlines()]


def run_program(page: Path) -> None:
    """Run the blocks of Python as one program, each against the ``text`` after it.

    Raises:
        AssertionError: A block printed something else than the page shows.
        Exception: Whatever a block raises.
    """
    follow(page, Path(), {}, languages={"python", "text"})


def follow(page: Path, folder: Path, environment: Mapping[str, str], **choices: Any) -> None:
    """Do what a page tells, from its beginning to its end.

    Args:
        page: See above for the forms of its blocks.
        folder: Where commands begin; `cd` leads elsewhere. Python runs in this process and its own folder.
        environment: Of the commands, which are typed into bash.
        choices: See `_Reader`.

    Raises:
        AssertionError: Something printed what the page does not show, or a command failed.
        Exception: Whatever a block of Python raises.
    """
    reader = _Reader(folder, environment, **choices)
    for block in blocks(page):
        reader.read(block, page.name)


class _Reader:
    """A reader at his machine.

    Args:
        folder, environment: See `follow`.
        replaced: Texts of the page that are others here, like the address of the node.
        languages: Blocks of others are passed over.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        replaced: Mapping[str, str] | None = None,
        languages: Collection[str] | None = None,
    ) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._replaced = replaced or {}
        self._languages = languages
        self._names: dict[str, object] = {"__name__": "__page__"}
        self._printed = ""
        self._exports: list[str] = []

    def read(self, block: Block, page: str) -> None:
        place = f"{page}, line {block.line}"
        if self._languages is not None and block.language not in self._languages:
            return
        if block.name is not None:
            (self._folder / block.name).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self._run(block, page)
        elif block.language == "text":
            assert fits(self._printed, block.text), f"{place}: it prints\n{self._printed}"
        elif block.language == "console":
            for item in typed(block):
                self._type(item, place)

    def _run(self, block: Block, page: str) -> None:
        out = io.StringIO()
        text = block.text
        for shown, here in self._replaced.items():
            text = text.replace(shown, here)
        # Line numbers in a stack are those of the page.
        program = compile("\n" * block.line + text, page, "exec")
        with contextlib.redirect_stdout(out):
            exec(program, self._names)
        self._printed = out.getvalue()

    def _type(self, item: Typed, place: str) -> None:
        """Type a command; where it leads to, and what it exports, holds for what comes after it."""
        command = item.command
        for shown, here in self._replaced.items():
            command = command.replace(shown, here)
        lines = ["set -e", *self._exports, command]
        done = subprocess.run(
            ["bash", "-c", "\n".join(lines)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, f"{place}: {command}\n{done.stdout}"
        assert fits(done.stdout, item.printed), f"{place}: {command} prints\n{done.stdout}"
        kind, _, rest = command.partition(" ")
        if kind == "cd":
            self._folder /= rest
        elif kind == "export":
            self._exports.append(command)
