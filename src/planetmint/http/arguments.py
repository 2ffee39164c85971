# SPDX-License-Identifier: AGPL-3.0-or-later
"""Arguments of a query string: the first value counts, every value is checked (http-api 2.1).

The wording of errors is that of the old servers, which clients show to people.
"""

import re
from collections.abc import Callable, Collection
from typing import TypeVar
from urllib.parse import parse_qsl

from planetmint.http.answers import Answer, json_answer

T = TypeVar("T")

MOST_ARGUMENTS = 2_000
"""Arguments in one query string; more are refused."""

MISSING = "Missing required parameter in the JSON body or the post body or the query string"

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LONGEST_INTEGER = 18
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEY = re.compile(r"[1-9A-HJ-NP-Za-km-z]{43,44}", re.ASCII)
_LONGEST_ECHO = 100
_BOOLEANS = {"true": True, "false": False}


class ArgumentError(Exception):
    """A request whose arguments are wrong.

    Attributes:
        argument: The one at fault; None where the message speaks for itself.
        reason: What is wrong.
    """

    def __init__(self, reason: str, argument: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.argument = argument

    def answer(self) -> Answer:
        """400 with the message as a text, or as an object with the argument's name (http-api 2.2)."""
        if self.argument is None:
            return json_answer({"message": self.reason, "status": 400}, 400)
        return json_answer({"message": {self.argument: self.reason}, "status": 400}, 400)


class Arguments:
    """The arguments of one request.

    Raises:
        ArgumentError: More than `MOST_ARGUMENTS`.
    """

    def __init__(self, query: bytes) -> None:
        self._values: dict[str, list[str]] = {}
        if not query:
            return
        try:
            pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_ARGUMENTS)
        except ValueError:
            raise ArgumentError(f"More than {MOST_ARGUMENTS} arguments") from None
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def all(self, name: str, read: Callable[[str], T]) -> list[T]:
        """Every value of an argument as `read` (which raises ValueError) makes it; empty where it is absent."""
        try:
            return [read(value) for value in self._values.get(name, ())]
        except ValueError as error:
            raise ArgumentError(str(error), name) from None

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """The first value of an argument; None where it is absent."""
        values = self.all(name, read)
        return values[0] if values else None

    def required(self, name: str, read: Callable[[str], T]) -> T:
        """The first value of an argument that must be there."""
        values = self.all(name, read)
        if not values:
            raise ArgumentError(MISSING, name)
        return values[0]

    def refuse_others(self, known: Collection[str]) -> None:
        """Refuse arguments that are not `known`, as two routes do."""
        unknown = [name for name in self._values if name not in known]
        if unknown:
            raise ArgumentError(f"Unknown arguments: {', '.join(unknown)}"[:1000])


def text(value: str) -> str:
    """Any text."""
    return value


def boolean(value: str) -> bool:
    """`true` or `false` in any letter case."""
    try:
        return _BOOLEANS[value.lower()]
    except KeyError:
        raise ValueError('Boolean value must be "true" or "false" (lowercase)') from None


def limit(value: str) -> int:
    """How many items are wanted: 0 or more."""
    stripped = value.strip()
    if not _INTEGER.fullmatch(stripped):
        raise ValueError(f"invalid literal for int() with base 10: {value[:_LONGEST_ECHO]!r}")
    if stripped.startswith("-") and stripped.strip("-0"):
        raise ValueError("must be 0 or more")
    digits = stripped.lstrip("+-0")
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError(f"must have at most {_LONGEST_INTEGER} digits")
    return int(digits or "0")


def transaction_hash(value: str) -> str:
    """The id of a transaction: 64 hex digits, made lower-case."""
    lowered = value.lower()
    if not _HASH.fullmatch(lowered):
        raise ValueError("Invalid hash")
    return lowered


def transaction_hashes(value: str) -> list[str]:
    """Ids separated by commas."""
    try:
        return [transaction_hash(part) for part in value.split(",")]
    except ValueError:
        raise ValueError("List contains invalid hash") from None


def public_key(value: str) -> str:
    """A base58 key, by its form only."""
    if not _KEY.fullmatch(value):
        raise ValueError("Invalid base58 ed25519 key")
    return value


def one_of(choices: Collection[str], reason: str) -> Callable[[str], str]:
    """A reader of texts that must be among `choices`."""

    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(reason)
        return value

    return read
