# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers that set how much a statement does: where they stand, and how large they are.

The tables below hold every statement of the engine that chains name (zenroom 3.16.1) whose work or size is set by
a number. The loop ``Foreach`` is not among them because the engine ends each at 1,000 turns. Such a number must be
readable from the texts and at most the chain parameter ``contracts.max_number``:

1. Written in the statement it must be plain decimal digits. ``1e9``, ``0x10``, ``-1``, blanks and decimal points,
   which the engine would take as well, are refused.
2. Where the statement names it, every member of that name anywhere in data and keys must be such a number, as a
   JSON number or as a string of digits, and so must be what the script itself writes under that name. Names are
   compared as the engine compares them (blanks are underscores).
3. And nothing else may have put a number there: a name that counts must be read as a number in ``Given``, or
   written in ``write number`` or ``set ... as``, and apart from that and from counting may only be printed.
   Arithmetic, renaming, copying, decoding and statements that make an object of that name are refused, and so are
   all ``named by``.

The engine itself would take much more in these places: the base64 text of an octet string, for one, if it happens
to look like a number. What cannot be read off the text is therefore refused and never guessed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from planetmint.contracts.zencode import SPACE, Statement, name_of, words_of
from planetmint.model.json import JsonValue

_COUNTED: Final = "'#'"
"""Marks a count in the tables."""

_COUNTS: Final = """
create the random object of '#' bits
create the random object of '#' bytes
create the array of '#' random objects
create the array of '#' random objects of '#' bits
create the array of '#' random objects of '#' bytes
create the array of '#' random numbers
create the array of '#' random numbers modulo ''
create the random dictionary with '#' random objects from ''
create the key derivation of '' with '#' rounds
create the key derivation of '' with '#' rounds with password ''
split the leftmost '#' bytes of ''
split the rightmost '#' bytes of ''
create the secret shares of '' with '#' quorum '#'
create the pvss public shares of '' with '#' quorum '#' using the public keys ''
verify the pvss public shares with '#' quorum '#'
compose the pvss secret using '' with quorum '#'
"""
"""Statements whose arguments count."""

_EPOCHS: Final = """
create the ephemeral ids for today
create the proximity tracing of infected ids
"""
"""Statements that share a day out in epochs of as many minutes as the object ``epoch`` says: at least 1."""

_TYPED: Final = """
create the ethereum abi encoding of '' using '#'
use the ethereum transaction to run '#' using ''
"""
"""Statements that make arrays as long as a type says which the marked object holds, like ``uint256[3]``."""

_SHOWN = 40
"""Characters of a name or a number that a reason may show."""

_UNITS = frozenset({"bits", "bytes", "quorum", "rounds"})
"""Words of counting statements that are no names of objects: a count may be called so."""

_NUMBERS = frozenset({"float", "int", "integer", "num", "number"})
_TEXTS = frozenset({"ethereum_method", "string", "string_array", "string_dictionary"})

_DIGITS = re.compile(r"[0-9]+")
_NAME = re.compile("[A-Za-z_\x80-\U0010ffff]")
"""How a name begins that the engine cannot read as a number in any of its spellings, all of which are ASCII.

What a letter is beyond ASCII depends on the interpreter's version, so that it must not matter.
"""
_LENGTH = re.compile(rf"\[[{SPACE}]*([0-9]+)")


def _read(table: str) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Words of each statement, and which of its arguments are marked."""
    forms = {}
    for line in filter(None, table.split("\n")):
        arguments = re.findall("'[^']*'", line)
        forms[words_of(line)] = tuple(place for place, item in enumerate(arguments) if item == _COUNTED)
    return forms


_COUNTING = _read(_COUNTS)
_BY_EPOCH = _read(_EPOCHS)
_BY_TYPE = _read(_TYPED)

_GIVEN = frozenset(
    map(
        words_of,
        (
            "given a ''",
            "given a '' in ''",
            "given a '' named ''",
            "given a '' named '' in ''",
            "given my ''",
            "given my '' named ''",
        ),
    )
)
_WRITE = words_of("write number '' in ''")
_SET = words_of("set '' to '' as ''")


def find_unbounded(script: Sequence[Statement], values: Sequence[JsonValue], largest: int) -> str | None:
    """The first count that is beyond `largest` or cannot be read off the texts, as a sentence; None if all can.

    Args:
        script: All statements.
        values: What data and keys say.
        largest: The chain parameter `max_number`.
    """
    texts = _Texts(script, values, largest)
    for statement in script:
        fault = texts.fault(statement)
        if fault is not None:
            return f"line {statement.number}: {fault}"
    return None


class _Texts:
    """Looks a contract's counts up in its texts."""

    def __init__(self, script: Sequence[Statement], values: Sequence[JsonValue], largest: int) -> None:
        self._largest = largest
        self._statements = script
        self._values = values
        self._found: dict[tuple[str, int], str | None] = {}

    # Most contracts count nothing, or by plain numbers: what follows is made for those that need it.

    @cached_property
    def _script(self) -> list["_Line"]:
        return [_Line.of(statement) for statement in self._statements]

    @cached_property
    def _said(self) -> str:
        """The words of all statements; no words go on from one to the next."""
        return "\n".join(line.text for line in self._script)

    @cached_property
    def _lines(self) -> dict[str, list["_Line"]]:
        """The statements that name something, in order: looking through all of them for each name is too slow."""
        lines: dict[str, list[_Line]] = {}
        for line in self._script:
            for part in line.parts:
                lines.setdefault(part, []).append(line)
        return lines

    @cached_property
    def _renaming(self) -> list["_Line"]:
        return self._saying(("named", "by"))

    def _saying(self, words: tuple[str, ...]) -> list["_Line"]:
        """The statements in which `words` occur outside of arguments, in one piece."""
        text = f" {' '.join(words)} "
        return [line for line in self._script if text in line.text] if words and text in self._said else []

    @cached_property
    def _members(self) -> dict[str, list[JsonValue]]:
        """Every member of data and keys at any depth, by the name that the engine gives to it."""
        members: dict[str, list[JsonValue]] = {}
        for name, value in _pairs(self._values):
            if name is not None:
                members.setdefault(name_of(name), []).append(value)
        return members

    def fault(self, statement: Statement) -> str | None:
        """What is wrong with the counts of one statement."""
        words, arguments = statement.words, statement.arguments
        if words in _BY_EPOCH:
            return self._named("epoch", least=1)
        if words in _BY_TYPE:
            return self._typed(arguments[_BY_TYPE[words][0]]) or self._lengths
        faults = (self._count(arguments[place]) for place in _COUNTING.get(words, ()))
        return next(filter(None, faults), None)

    def _count(self, argument: str) -> str | None:
        if not _DIGITS.fullmatch(argument):
            return self._named(argument, least=0)
        return None if self._small(argument) else f"the number {_clip(argument)} is greater than {self._largest}"

    def _named(self, name: str, least: int) -> str | None:
        if (name, least) not in self._found:
            self._found[name, least] = self._look_up(name, least)
        return self._found[name, least]

    def _look_up(self, name: str, least: int) -> str | None:
        """What is wrong with the numbers that `name` stands for."""
        if not _NAME.match(name):
            return f"{_clip(name)} is not a number of plain digits"
        written: list[JsonValue] = []
        own = () if name in _UNITS else words_of(name.replace("_", " "))
        lines = self._lines.get(name, [])
        beyond = [
            *self._saying(own),
            *self._renaming,
            *(line for line in lines if not self._leaves(line, name, written)),
        ]
        if beyond:
            number = min(line.number for line in beyond)
            return f"the number {_clip(name)} cannot be told beforehand because of line {number}"
        found = [*self._members.get(name, ()), *written]
        if not found or not any(line.introduces() for line in lines):
            return f"the number {_clip(name)} is given to the contract neither by itself nor by data or keys"
        if not all(self._bounded(value, least) for value in found):
            return f"the number {_clip(name)} is not a whole number from {least} to {self._largest}"
        return None

    def _leaves(self, line: "_Line", name: str, written: list[JsonValue]) -> bool:
        """Whether `name`, which it names, stands after the statement for what data, keys and `written` say.

        Adds to `written`.
        """
        words, arguments = line.words, line.arguments
        if words[:1] == ("print",):
            return True
        if words in _COUNTING:
            return all(place in _COUNTING[words] for place, item in enumerate(arguments) if item == name)
        if line.given and words in _GIVEN:
            return self._is_read_as_number(words, arguments, name)
        if words == _WRITE:
            written.append(arguments[0])
            return arguments[1] == name
        if words == _SET:
            written.append(arguments[1])
            return arguments[0] == name and arguments[2] in _NUMBERS
        return False

    def _is_read_as_number(self, words: tuple[str, ...], arguments: tuple[str, ...], name: str) -> bool:
        if "named" in words:
            return arguments[1] == name and arguments[0] in _NUMBERS
        # The name is that of a format of its own, which could make anything of a string.
        return arguments[0] == name and not any(isinstance(value, str) for value in self._members.get(name, ()))

    def _typed(self, name: str) -> str | None:
        """The object with the types must come from data or keys as text, and not be made by the script."""
        lines = self._lines.get(name, [])
        for line in lines:
            words, arguments = line.words, line.arguments
            if words in _BY_TYPE or words[:1] == ("print",):
                continue
            kind = arguments[0] if line.given and words in _GIVEN else None
            if kind not in _TEXTS or ("named" in words and arguments[1] != name):
                return f"the types in {_clip(name)} cannot be told beforehand because of line {line.number}"
        if not any(line.introduces() for line in lines):
            return f"the types in {_clip(name)} are not given to the contract"
        return None

    @cached_property
    def _lengths(self) -> str | None:
        """What is wrong with the lengths of arrays, which may stand in any string."""
        texts = (value for _, value in _pairs(self._values) if isinstance(value, str))
        lengths = (length for text in texts for length in _LENGTH.findall(text))
        beyond = next((length for length in lengths if not self._small(length)), None)
        return None if beyond is None else f"the array length {_clip(beyond)} is greater than {self._largest}"

    def _bounded(self, value: JsonValue, least: int) -> bool:
        if isinstance(value, str):
            return (
                _DIGITS.fullmatch(value) is not None
                and self._small(value)
                and (least == 0 or value.strip("0") != "")
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return least <= value <= self._largest and value == int(value)

    def _small(self, digits: str) -> bool:
        """Whether decimal digits, however many, say at most `largest`."""
        significant = digits.lstrip("0")
        return len(significant) <= len(str(self._largest)) and int(significant or "0") <= self._largest


class _Line(NamedTuple):
    """A statement, ready to be searched for many names."""

    number: int
    words: tuple[str, ...]
    arguments: tuple[str, ...]
    given: bool
    parts: frozenset[str]
    """The arguments, and the steps of those that are paths."""
    text: str

    @classmethod
    def of(cls, statement: Statement) -> "_Line":
        steps = (step for argument in statement.arguments for step in argument.split("."))
        text = f" {' '.join(statement.words)} "
        return cls(*statement, frozenset((*statement.arguments, *steps)), text)

    def introduces(self) -> bool:
        """Whether it makes an object of a name in it, which the engine does not let others do after it.

        Asked of statements alone of which it is known already that they do so rightly, if at all.
        """
        return self.given or self.words in (_WRITE, _SET)


def _pairs(values: Iterable[JsonValue]) -> Iterator[tuple[str | None, JsonValue]]:
    """Every value at any depth, with the name of those that are members."""
    # A list of what is left, not recursion: the interpreter's limit must never be met, however deep the stack is.
    waiting: list[tuple[str | None, JsonValue]] = [(None, value) for value in values]
    while waiting:
        pair = waiting.pop()
        yield pair
        if isinstance(pair[1], dict):
            waiting.extend(pair[1].items())
        elif isinstance(pair[1], list):
            waiting.extend((None, item) for item in pair[1])


def _clip(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
