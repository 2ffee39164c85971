# SPDX-License-Identifier: AGPL-3.0-or-later
"""Numbers beyond a double: refused however they are spelled, at the latest when they are written."""

import pytest

from planetmint.model import json
from planetmint.model.errors import SchemaValidationError

LARGEST = b"1.7976931348623157e308"


@pytest.mark.parametrize(
    "text",
    [
        b"1e400",
        b"1e309",
        b"9.9e308",
        b"-9.9E308",
        b"1.7976931348623159e308",
        b"17976931348623159e293",
        b"9" * 300 + b"e9",
    ],
)
def test_a_number_beyond_a_double_is_never_written(text: bytes) -> None:
    with pytest.raises(SchemaValidationError) as caught:
        json.canonical(json.parse(b'{"a":[%s]}' % text, max_depth=10, max_digits=308))
    assert caught.value.rule == "json.number"


@pytest.mark.parametrize("text", [LARGEST, b"-" + LARGEST, b"179769313486231570000e288", b"5e-324"])
def test_the_largest_and_smallest_doubles_are_written(text: bytes) -> None:
    value = json.parse(text, max_depth=10, max_digits=308)
    assert value == float(text)
    assert json.parse(json.canonical(value), max_depth=10, max_digits=308) == value


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_number_is_never_written(value: float) -> None:
    with pytest.raises(SchemaValidationError):
        json.canonical([value])
