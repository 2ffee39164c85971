# SPDX-License-Identifier: AGPL-3.0-or-later
"""The deliberate differences."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.differential.chains import Dialect
from tests.differential.wire import Json


@dataclass(frozen=True)
class Answer:
    id: str | None
    accepted: bool
    error_class: str | None = None
    message: str | None = None
    caught: bool = True
    rule: str | None = None


@dataclass(frozen=True)
class Comparison:
    dialect: Dialect
    text: str
    known: tuple[Json, ...]
    ours: Answer
    theirs: Answer


@dataclass(frozen=True)
class Difference:
    name: str
    applies: Callable[[Comparison], bool]


def find_difference(c):
    return None
