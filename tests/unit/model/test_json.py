# SPDX-License-Identifier: AGPL-3.0-or-later
"""JSON: bounds that hold before parsing, refusals, and the canonical form (transactions 4.1)."""

import json as stdlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.model import json
from planetmint.model.errors import SchemaValidationError


def parse(text: bytes) -> json.JsonValue:
    return json.parse(text, max_depth=400, max_digits=308)


def rule_of(text: bytes) -> str:
    with pytest.raises(SchemaValidationError) as refusal:
        parse(text)
    return refusal.value.rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"", json.NOT_JSON),
        (b"   ", json.NOT_JSON),
        (b"{", json.NOT_JSON),
        (b"[1,]", json.NOT_JSON),
        (b"{} {}", json.NOT_JSON),
        (b"\xff\xfe", json.NOT_JSON),
        (b'"\xed\xa0\x80"', json.NOT_JSON),
        (b"{'a': 1}", json.NOT_JSON),
        (b'{"x": NaN}', "json.number"),
        (b'{"x": -Infinity}', "json.number"),
        (b'{"x": 1e400}', "json.number"),
        (b'{"x": "\\ud800"}', "json.surrogate"),
        (b'{"\\udc00x": 1}', "json.surrogate"),
        (b"[" * 401 + b"]" * 401, "json.depth"),
        (b'{"a":' * 401 + b"1" + b"}" * 401, "json.depth"),
        (b"[" * 1_000_000, "json.depth"),
        (b"1" * 309, "json.digits"),
        (b"[-" + b"1" * 5_000 + b"]", "json.digits"),
        (b"0." + b"1" * 308, "json.digits"),
    ],
)
def test_hostile_text_is_refused_with_its_own_rule(text: bytes, rule: str) -> None:
    assert rule_of(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 400 + b"]" * 400,
        b"1" * 308,
        b'"' + b"[" * 5_000 + b'"',
        b'"' + b"7" * 5_000 + b'"',
        b'{"a\\"[": "\\\\"}',
        b"[" + b",".join([b"[]"] * 5_000) + b"]",
    ],
)
def test_bounds_are_exact_and_do_not_count_inside_strings(text: bytes) -> None:
    assert parse(text) == stdlib.loads(text)


def test_of_duplicate_keys_the_last_one_counts() -> None:
    assert parse(b'{"a": 1, "a": 2}') == {"a": 2}


def test_control_characters_are_escaped_with_upper_case_digits() -> None:
    assert json.canonical("\x1f\x0b\b\x7f\u2028/") == '"\\u001F\\u000B\\b\x7f\u2028/"'.encode()


def test_keys_are_ordered_by_code_point() -> None:
    assert json.canonical({"\U0001f600": 1, "\uffee": 2}) == '{"\uffee":2,"\U0001f600":1}'.encode()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values)
def test_canonical_form_is_that_of_an_independent_writer(value: json.JsonValue) -> None:
    text = stdlib.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for code in range(0x20):
        text = text.replace(f"\\u{code:04x}", f"\\u{code:04X}")
    assert json.canonical(value).decode() == text


@given(values)
def test_canonical_form_reads_back_as_the_value(value: json.JsonValue) -> None:
    again = parse(json.canonical(value))
    assert again == value
    assert json.canonical(again) == json.canonical(value)


@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,\\ue0-1N.', max_size=200).map(str.encode))
def test_any_bytes_give_a_value_or_a_refusal(text: bytes) -> None:
    try:
        value = parse(text)
        canonical = json.canonical(value)
    except SchemaValidationError as refusal:
        assert refusal.rule.startswith("json.")
        return
    assert not (isinstance(value, float) and not math.isfinite(value))
    assert json.canonical(parse(canonical)) == canonical
