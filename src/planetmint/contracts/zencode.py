# SPDX-License-Identifier: AGPL-3.0-or-later
"""Zencode as text: lines that are statements, and what of a statement counts when two are compared.

Written down from experiments with the engine that the chains name (zenroom 3.16.1):

- Only a line feed ends a line. White space at both ends is dropped, empty lines and lines that begin with ``#``
  are no statements. There is no way to continue a line.
- Arguments stand between single quotes, which cannot be escaped; blanks in them become underscores.
- What is left is compared without regard to the case of ASCII letters, without the leading word (``Given``,
  ``When``, ``Then``, ``And``, ``If``, ``Foreach``) and without particles in certain places (``I``, ``that``,
  ``the``, ``a``, ``an``, ``have``, ``known as``, ``valid``, ``all``); ``inside`` is the same as ``in``.

White space and letters beyond ASCII are nothing special to the engine. What the interpreter takes for such depends
on its version, so that it is never asked: nodes of two versions would judge differently.

Here the particles are dropped in every place, so that every spelling which the engine takes for a statement gives
the same words as that statement, and some that it refuses do so too.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

SPACE = " \t\n\v\f\r"
"""What the engine takes for white space."""

ARGUMENT = "''"
"""Stands for an argument among the words of a statement."""

_QUOTED = re.compile("'([^']*)'")
_FIRST = re.compile(f"[{SPACE}]")
_WORD = re.compile(f"[^{SPACE}]+")
_PARTICLES = frozenset(
    {"given", "when", "then", "if", "foreach", "and"}
    | {"i", "that", "the", "a", "an", "have", "known", "as", "valid", "all"}
)


class Statement(NamedTuple):
    """One statement.

    Attributes:
        number: Of its line, from 1.
        words: Without particles, in lower case, `ARGUMENT` for every argument.
        arguments: In order, named as the engine names them.
        given: Whether it stands where data and keys are taken in: begins with ``Given``, or continues such a one
            with ``And``.
    """

    number: int
    words: tuple[str, ...]
    arguments: tuple[str, ...]
    given: bool


def statements(script: str) -> Iterator[Statement]:
    """The statements of a script in order; every line is one that is neither empty nor a comment."""
    given = False
    for number, line in enumerate(script.split("\n"), 1):
        text = line.strip(SPACE)
        if not text or text.startswith("#"):
            continue
        first = lowered(_FIRST.split(text, 1)[0])
        given = first == "given" or (given and first == "and")
        yield Statement(number, words_of(text), tuple(map(name_of, _QUOTED.findall(text))), given)


def words_of(text: str) -> tuple[str, ...]:
    """What of a statement tells it from others."""
    bare = _WORD.findall(lowered(_QUOTED.sub(f" {ARGUMENT} ", text)))
    return tuple("in" if word == "inside" else word for word in bare if word not in _PARTICLES)


def name_of(argument: str) -> str:
    """The name under which the engine keeps what a text names: an argument, or a member of data or keys."""
    return argument.replace(" ", "_").strip(SPACE)


def lowered(text: str) -> str:
    """ASCII letters in lower case, all else as it is."""
    return text.encode().lower().decode()
