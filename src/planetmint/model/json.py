# SPDX-License-Identifier: AGPL-3.0-or-later
"""JSON in, canonical JSON out: one parser and one writer for everything that is hashed.

Ids are hashes of this text, so that all nodes must agree on every byte of it. Bounds on nesting and on
number literals are checked on the text before it is parsed: no limit of the interpreter is ever met.
Source: transactions 4.1; bounds in consensus-and-storage 8.
"""

import json as plain_json
import re
from functools import lru_cache
from itertools import accumulate
from typing import TypeAlias

import rapidjson

from planetmint.model.errors import SchemaValidationError

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""What JSON can say. Treated as read-only everywhere."""

JsonObject: TypeAlias = dict[str, JsonValue]

NOT_JSON = "json.syntax"
"""The rule that a text breaks which is not JSON at all."""

_NO_DOUBLE = "NaN, Infinity and numbers beyond a double are refused"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+\-]*")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(octet for octet in range(256) if octet not in _STEP)
_NOT_A_NUMBER = re.compile(rb"\b(?:NaN|Inf|Infinity)\b")


def parse(text: bytes, *, max_depth: int, max_digits: int) -> JsonValue:
    """Parse JSON text; of duplicate keys the last one counts.

    Args:
        text: UTF-8.
        max_depth: Levels of arrays and objects together that are allowed.
        max_digits: Digits that one number literal may have.

    Raises:
        SchemaValidationError: Not UTF-8, not JSON, too deep, NaN, Infinity, a number that overflows a double
            or has too many digits, a lone surrogate. `rule` is `NOT_JSON` where the text is not JSON.
            Some overflows (``9.9e308``) pass the parser as an infinity; `canonical` refuses these.
    """
    if b"\x00" in text:
        # The parser takes a NUL for the end of the text and never looks at what follows.
        raise SchemaValidationError("the text is not JSON (it holds a NUL character)", rule=NOT_JSON)
    check_bounds(text, max_depth=max_depth, max_digits=max_digits)
    try:
        value: JsonValue = rapidjson.loads(text.decode("utf-8"), number_mode=rapidjson.NM_NONE)
        return value
    except UnicodeDecodeError:
        raise SchemaValidationError("the text is not UTF-8", rule=NOT_JSON) from None
    except (rapidjson.JSONDecodeError, ValueError) as error:
        raise _syntax_error(text, str(error)) from None


def canonical(value: JsonValue) -> bytes:
    """The canonical form of `value` in UTF-8.

    Raises:
        SchemaValidationError: A lone surrogate or a number that JSON cannot write.
    """
    try:
        text: str = rapidjson.dumps(value, skipkeys=False, ensure_ascii=False, sort_keys=True, allow_nan=False)
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise SchemaValidationError("a string holds a lone surrogate", rule="json.surrogate") from None
    except ValueError:
        raise SchemaValidationError(_NO_DOUBLE, rule="json.number") from None


def spaced(value: JsonValue, *, sort_keys: bool = True) -> str:
    """`value` in ASCII with a blank after each comma and colon, as the published packages spell data of contracts.

    Not for ids: these are hashes of `canonical`. The interpreter's writer gives this text in every version of it.

    Raises:
        ValueError: A number that JSON cannot write.
    """
    return plain_json.dumps(value, sort_keys=sort_keys, allow_nan=False)


def check_bounds(text: bytes, *, max_depth: int, max_digits: int) -> None:
    """Refuse text that nests too deep or holds a number literal with too many digits.

    What stands inside strings does not count. Linear in the length of `text`.

    Raises:
        SchemaValidationError: A bound is exceeded.
    """
    may_be_deep = text.count(b"[") + text.count(b"{") > max_depth
    may_be_long = _longer_numbers(max_digits).search(text) is not None
    if not (may_be_deep or may_be_long):
        return
    bare = _STRING.sub(b'""', text)
    if may_be_deep and _depth(bare) > max_depth:
        raise SchemaValidationError(f"arrays and objects nest deeper than {max_depth} levels", rule="json.depth")
    for literal in _NUMBER.finditer(bare) if may_be_long else ():
        if sum(character in b"0123456789" for character in literal.group()) > max_digits:
            raise SchemaValidationError(f"a number has more than {max_digits} digits", rule="json.digits")


@lru_cache(maxsize=4)
def _longer_numbers(digits: int) -> re.Pattern[bytes]:
    """Finds every text that may hold a number literal of more than `digits` digits, and some that do not."""
    return re.compile(rb"[0-9.eE+\-]{%d}" % (digits + 1))


def _depth(bare: bytes) -> int:
    """Greatest nesting in text without strings."""
    # No loop of the interpreter's own: hostile text consists of brackets, and contracts may print a lot of it.
    return max(accumulate(map(_STEP.__getitem__, bare.translate(None, _NO_BRACKETS))), default=0)


def _syntax_error(text: bytes, message: str) -> SchemaValidationError:
    """Tell numbers and characters that JSON cannot carry apart from text that is no JSON."""
    if "surrogate" in message:
        return SchemaValidationError("a string holds a lone surrogate", rule="json.surrogate")
    if "too big" in message or _NOT_A_NUMBER.search(_STRING.sub(b'""', text)):
        return SchemaValidationError(_NO_DOUBLE, rule="json.number")
    return SchemaValidationError(f"the text is not JSON ({message.rstrip('.')})", rule=NOT_JSON)
