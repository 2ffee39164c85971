# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bound on counts against the real engine: no spelling gets past it (consensus-and-storage 8).

Contracts are put together at random and run wherever the bounds let them pass. What they made tells how much they
did: the length of a random object, or the number of rounds of a key derivation, which is computed here anew.
"""

import base64
import hashlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planetmint.contracts import Purpose, equal_json, judge, make_call
from planetmint.contracts.call import ContractCall, EngineAnswer
from planetmint.model.errors import InvalidScript, InvalidTransaction
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.testing.ledger import Engine
from tests.support.contract_engine import contract_engine

MOST = 64
BOUNDS = ContractParameters("bound", "on", max_number=MOST)
OFTEN = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with contract_engine() as run:
        yield run


def passed(script: str, data: JsonObject) -> ContractCall | None:
    """The call, where the bounds let it pass."""
    try:
        return make_call(Purpose.SCRIPT, "script", script, data, None, {}, BOUNDS)
    except InvalidScript as refusal:
        assert refusal.rule.startswith("contract.")
        return None


def result(call: ContractCall, engine: Engine) -> dict[str, JsonValue]:
    output = engine(call).output
    value = json.loads(output) if output.strip() else {}
    return value if isinstance(value, dict) else {}


# Spellings of a statement

BLANK = st.sampled_from([" ", " ", " ", "  ", "   ", "\t", "\u00a0", "\r", " \v "])
WORDS = ("create", "the", "random", "object", "of", "'{}'", "bytes")
EXTRA = st.one_of(
    st.just(""),
    st.sampled_from(
        ["I", "that", "valid", "all", "an", "a", "the", "known as", "have", "i", "THE", "#", "'", "''"]
    ),
    st.sampled_from(["when", "then", "given", "and", "if", "foreach"]),
)
NUMBER = st.one_of(
    st.integers(0, 300).map(str),
    st.sampled_from(
        ["0x41", "0x60", "6.5e1", "65.0", "1e2", " 65", "65 ", "\t65", "65\v", "+65", "0065", "0x41p0"]
    ),
    st.sampled_from(["6 5", "6_5", "٦٥", "６５", "65\r", "65\u00a0", "\u00a065", "65.", "0X4b", "1E2", "1e+2"]),
    st.sampled_from(["n", "my n", "my_n", "\tn", "65n"]),
)


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """The statement in some spelling, most of which the engine knows."""
    line = draw(st.sampled_from(["When", "when", "And", "WHEN", "Then", "Given", "If"]))
    for word in WORDS:
        extra = draw(EXTRA)
        shown = draw(st.sampled_from([word, word, word.upper(), word.capitalize()])) if "{" not in word else word
        line += draw(BLANK) + (extra + draw(BLANK) if extra else "") + shown
    return line.format(draw(NUMBER)) + draw(st.sampled_from(["", " ", "\r", "\t"]))


@OFTEN
@given(line=spelled(), value=st.sampled_from([65, 1, "65", "64"]))
def test_no_spelling_of_a_statement_gets_past_the_bound(line: str, value: int | str, engine: Engine) -> None:
    names = ("n", "my n", "65n")
    script = "".join(f"Given I have a 'number' named '{name}'\n" for name in names)
    script += "When done\n" + line + "\nThen print the 'random object' as 'hex'\n"
    call = passed(script, dict.fromkeys(names, value))
    if call is None:
        return
    made = result(call, engine).get("random_object", "")
    assert isinstance(made, str)
    assert len(made) // 2 <= MOST, line


@pytest.mark.parametrize("number", ["65", "0x41", "6.5e1", "65.0", "\t65", "0065"])
def test_the_engine_itself_takes_these_spellings(number: str, engine: Engine) -> None:
    """Were it otherwise, the test above would prove nothing."""
    script = f"Given nothing\nWhen  I create the Random object OF '{number}' bytes\n"
    script += "Then print the 'random object' as 'hex'\n"
    call = ContractCall("script", Purpose.SCRIPT, script, "{}", None, bytes(64), None)
    assert len(str(result(call, engine)["random_object"])) == 2 * 65


@st.composite
def spelled_debug(draw: st.DrawFn) -> str:
    line = draw(st.sampled_from(["When", "and", "AND", "Then"])) + draw(BLANK)
    for _ in range(draw(st.integers(0, 2))):
        line += draw(EXTRA) + draw(BLANK)
    name = draw(st.sampled_from(["debug", "schema", "trace", "backtrace", "codec", "config"]))
    return (
        line
        + draw(st.sampled_from([name, name.upper(), name.title()]))
        + draw(st.sampled_from(["", " ", "\r", "'"]))
    )


def dumped(logs: bytes) -> bool:
    """Whether the engine has shown what it holds, or what it did."""
    return any(
        word in logs for word in (b"c_WHEN_ack", b"SCHEMA", b"CODEC =", b"check_collision", b"[W]  Given nothing")
    )


@OFTEN
@given(line=spelled_debug())
def test_no_spelling_of_a_debugging_statement_is_run(line: str, engine: Engine) -> None:
    script = f"Given nothing\nWhen done\n{line}\nThen print the string 'ok'\n"
    call = passed(script, {})
    if call is not None:
        answer = engine(call)
        assert not (answer.output and dumped(answer.logs)), line


@pytest.mark.parametrize("name", ["debug", "schema", "trace", "backtrace", "codec", "config"])
def test_debugging_statements_show_what_the_engine_holds(name: str, engine: Engine) -> None:
    """Were it otherwise, the test above would prove nothing."""
    script = f"Given nothing\nWhen done\nand I {name}\nThen print the string 'ok'\n"
    answer = engine(ContractCall("script", Purpose.SCRIPT, script, "{}", None, bytes(64), None))
    assert answer.output and dumped(answer.logs)


# Where a count may come from

LINES = (
    "Given I have a 'number' named 'n'",
    "Given I have a 'number' named 'n' in 'd'",
    "Given I have a 'integer' named 'n'",
    "Given I have a 'hex' named 'n'",
    "Given I have a 'base64' named 'n'",
    "Given I have a 'string' named 'n'",
    "Given I have a 'number' named 'm'",
    "Given I have a 'hex' named 'm'",
    "Given I have a 'base64' named 'm'",
    "Given I have a 'number' named by 'x'",
    "Given I rename 'm' to 'n'",
    "Given I have a 'number array' named 'list'",
    "Given I have a 'string' named 'x'",
    "Given I have a 'string dictionary' named 'd'",
    "Given I have a 'number' in path 'd.n'",
    "When I write number '5000' in 'n'",
    "When I write number '50' in 'n'",
    "When I set 'n' to '5000' as 'number'",
    "When I set 'n' to 'zz' base '36'",
    "When I set 'n' to 'e74d34' as 'hex'",
    "When I set 'n' to '5000' as 'base64'",
    "When I create the result of 'm' * 'm'",
    "When I create the result of '50 * 50'",
    "When I create the size of 'x'",
    "When I rename 'result' to 'n'",
    "When I rename the 'm' to 'n'",
    "When I rename 'm' to named by 'x'",
    "When I copy the 'm' to 'n'",
    "When I copy 'n' in 'list'",
    "When I remove 'n'",
    "When I delete the 'n'",
    "When I pickup from path 'd.n'",
    "When I take 'n' from path 'd'",
    "When I append 'm' to 'n'",
    "When I append the string '00' to 'n'",
    "When I split the leftmost '1' bytes of 'n'",
    "When I create the copy of 'n' from 'd'",
    "When I rename 'copy' to 'n'",
    "When I create the copy of last element in 'list'",
    "Foreach 'n' in 'list'",
    "and 'n' in 'list'",
    "If I verify 'x' is found",
    "Then print the 'n'",
)
COUNT = "When I create the key derivation of 's' with '{}' rounds"
VALUE = st.sampled_from([5000, 50, "5000", "50", "e74d34", "MDA=", 2500, 1.5, "n"])
ALLOWED = {
    base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"x", b"", max(rounds, 1), 32)).decode()
    for rounds in range(MOST + 1)
}


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, JsonObject]:
    """A contract that ends in a count of an object which has come from somewhere, and data for it."""
    lines = draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=5))
    order = {"Given": 0, "Foreach": 2, "and": 2, "If": 1, "When": 1, "Then": 4}
    lines.sort(key=lambda line: order[line.split()[0]])
    loops = any(line.startswith("Foreach") for line in lines)
    name = draw(
        st.sampled_from(["n", "n", "n", "result", "size", "copy", "m", "leftmost", "copy of last element"])
    )
    ends = ["EndForeach"] if loops else []
    before = [line for line in lines if not line.startswith("Then")]
    text = ["Given I have a 'string' named 's'", *before, COUNT.format(name), *ends, "Then print 'key derivation'"]
    data: JsonObject = {"s": "x", "x": draw(st.sampled_from(["n", "m"]))}
    for member in draw(st.sets(st.sampled_from(["n", "m"]), min_size=1)):
        data[member] = draw(VALUE)
    data["d"] = {"n": draw(VALUE)}
    data["list"] = [draw(st.sampled_from([5000, 50])), 1]
    return "\n".join(text) + "\n", data


@settings(OFTEN, max_examples=400)
@given(program=programs())
def test_no_way_of_a_number_to_a_count_gets_past_the_bound(
    program: tuple[str, JsonObject], engine: Engine
) -> None:
    call = passed(*program)
    if call is None:
        return
    made = result(call, engine).get("key_derivation")
    assert made is None or made in ALLOWED, program


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Given I have a 'number' named 'n'", 50),
        ("Given I have a 'integer' named 'n'", "50"),
        ("Given I have a 'number' named 'n' in 'd'", 3),
        ("When I write number '50' in 'n'", 0),
    ],
)
def test_contracts_within_the_bound_run(line: str, value: int | str, engine: Engine) -> None:
    """Were it otherwise, the test above would prove nothing."""
    script = f"Given I have a 'string' named 's'\n{line}\n{COUNT.format('n')}\nThen print 'key derivation'\n"
    data: JsonObject = {"s": "x", "d": {"n": 50}} if "write" in line else {"s": "x", "n": value, "d": {"n": 50}}
    call = passed(script, data)
    assert call is not None
    assert result(call, engine)["key_derivation"] in ALLOWED


@pytest.mark.parametrize(
    ("line", "value"),
    [("Given I have a 'hex' named 'n'", "e74d34"), ("Given I have a 'base64' named 'n'", "5000")],
)
def test_the_engine_takes_the_base64_text_of_octets_for_a_count(line: str, value: str, engine: Engine) -> None:
    """Why a count must be read as a number: these 3 octets look like 5,000."""
    script = f"Given I have a 'string' named 's'\n{line}\n{COUNT.format('n')}\nThen print 'key derivation'\n"
    data: JsonObject = {"s": "x", "n": value}
    assert passed(script, data) is None
    call = ContractCall("script", Purpose.SCRIPT, script, json.dumps(data), None, bytes(64), None)
    expected = base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"x", b"", 5000, 32)).decode()
    assert result(call, engine)["key_derivation"] == expected


# Values

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=4)


@settings(deadline=None)
@given(
    script=st.text(max_size=200),
    data=OBJECTS,
    keys=st.one_of(st.none(), OBJECTS),
    purpose=st.sampled_from(Purpose),
)
def test_any_text_makes_a_call_or_is_refused_by_a_rule(
    script: str, data: JsonObject, keys: JsonObject | None, purpose: Purpose
) -> None:
    try:
        call = make_call(purpose, "f", script, data, keys, None, BOUNDS)
    except InvalidTransaction as refusal:
        assert refusal.rule.startswith("contract.") and refusal.field == "f"
        return
    assert call.data.isascii() and json.loads(call.data) == data
    assert len(call.seed) == 64


@settings(deadline=None)
@given(data=OBJECTS, keys=OBJECTS, rnd=st.randoms(use_true_random=False))
def test_the_order_of_members_changes_nothing(data: JsonObject, keys: JsonObject, rnd: object) -> None:
    def shuffled(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            names = list(value)
            rnd.shuffle(names)  # type: ignore[attr-defined]
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    def made(first: JsonValue, second: JsonValue) -> object:
        assert isinstance(first, dict) and isinstance(second, dict)
        try:
            return make_call(Purpose.CONDITION, "f", "Given nothing\n", first, second, None, BOUNDS)
        except InvalidTransaction as refusal:
            return refusal.rule

    assert made(data, keys) == made(shuffled(data), shuffled(keys))


@given(output=st.binary(max_size=80), logs=st.binary(max_size=80), expected=JSON)
def test_any_answer_is_judged(output: bytes, logs: bytes, expected: JsonValue) -> None:
    call = ContractCall("script", Purpose.SCRIPT, "", "{}", None, bytes(64), expected)
    refusal = judge(call, EngineAnswer(output, logs), ChainParameters())
    other = judge(call, EngineAnswer(output, b""), ChainParameters())
    assert (refusal and refusal.rule) == (other and other.rule), "what the engine says to people decides nothing"


@given(value=OBJECTS)
def test_what_the_contract_prints_satisfies_itself(value: JsonObject) -> None:
    assert equal_json(value, json.loads(json.dumps(value)))
    call = ContractCall("script", Purpose.SCRIPT, "", "{}", None, bytes(64), value.get("output", value))
    answer = EngineAnswer(json.dumps(value).encode(), b"")
    assert judge(call, answer, ChainParameters(max_number_digits=400)) is None
