# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an answer of the engine means for the transaction.

The verdict depends on the engine's output alone; its messages only help people to find their mistake, because
they may hold what differs between machines. Source: transactions 5.4 and 6.
"""

import re

from planetmint.contracts.call import ContractCall, EngineAnswer, Purpose
from planetmint.contracts.refusal import refusal
from planetmint.model import json
from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.json import JsonValue
from planetmint.model.parameters import ChainParameters

_MOST_HINT = 200
"""Characters of the engine's own message that a reason may show."""

_TRACED = re.compile(r"^\[W\] +\[!\] +(.+)$", re.MULTILINE)
"""What went wrong, in the engine's account of the run."""
_ENDED = re.compile(r"^\[!\] +[A-Z]+: +(.+)$", re.MULTILINE)
"""Where: the statement, or what is wrong with it where it could not be read."""
_OTHER = re.compile(r"^(?:\[[!W]\] +)?((?![ \[.]|ERROR:|Execution aborted|Zencode is missing).+)$", re.MULTILINE)
_PLACE = re.compile(r'^\[string "[^"\n]*"\]:\d+: *')
"""A line of the engine's own code."""


def judge(call: ContractCall, answer: EngineAnswer, parameters: ChainParameters) -> InvalidTransaction | None:
    """Whether the contract said what the transaction declares.

    Its output must be a JSON object. Where that has a member ``output`` this is compared with what was declared,
    else the whole object is.

    Returns:
        None where it did; else InvalidScript or InvalidSignature, rule ``contract.failed`` where there is no such
        object, ``contract.output`` where it differs.
    """
    try:
        value = json.parse(
            answer.output, max_depth=parameters.max_json_depth, max_digits=parameters.max_number_digits
        )
    except SchemaValidationError as error:
        return _failed(call, answer, error.reason)
    if not isinstance(value, dict):
        return _failed(call, answer, "its output is not a JSON object")
    if equal_json(value.get("output", value), call.expected):
        return None
    reason = "script did not produce the declared outputs"
    if call.purpose is Purpose.CONDITION:
        reason = "the contract of the condition did not produce the declared output"
    return refusal(call.purpose, call.field, "contract.output", reason)


def equal_json(first: JsonValue, second: JsonValue) -> bool:
    """Equality of JSON values: 7 equals 7.0 but not true, the order of a list counts, that of members does not."""
    # A list of what is left, not recursion: the interpreter's limit must never be met, however deep the stack is.
    waiting: list[tuple[JsonValue, JsonValue]] = [(first, second)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            waiting.extend((item, other[name]) for name, item in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            waiting.extend(zip(one, other, strict=True))
        elif _kind(one) != _kind(other) or one != other:
            return False
    return True


def _kind(value: JsonValue) -> type:
    """What of JSON a value is: numbers are of one kind, however they are spelled."""
    return float if type(value) is int else type(value)


def hint(logs: bytes) -> str:
    """The engine's own complaint in one short line; empty where it made none."""
    text = logs.decode("utf-8", "replace")
    found = [match[1] for pattern in (_TRACED, _ENDED) if (match := pattern.search(text))]
    if not found:
        found = [match[1] for match in [_OTHER.search(text)] if match]
    line = ", at: ".join(_PLACE.sub("", item).strip() for item in found)[:_MOST_HINT]
    return "".join(character if character.isprintable() else " " for character in line)


def _failed(call: ContractCall, answer: EngineAnswer, found: str) -> InvalidTransaction:
    complaint = hint(answer.logs)
    what = "script" if call.purpose is Purpose.SCRIPT else "the contract of the condition"
    reason = f"{what} failed: {complaint or (found if answer.output.strip() else 'it printed nothing')}"
    return refusal(call.purpose, call.field, "contract.failed", reason)
