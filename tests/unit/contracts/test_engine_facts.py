# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the rules of contracts take for granted of the engine, asked of the real one (zenroom 3.16.1).

Another engine that a chain is founded with has to answer the same.
"""

import json
from collections.abc import Iterator

import pytest

from planetmint.contracts import ContractCall, Purpose, judge, make_call
from planetmint.contracts.zencode import SPACE, statements
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.testing.ledger import Engine
from tests.support.contract_engine import contract_engine

ADDED: JsonObject = {"transaction": {"message": "ab" * 32, "signers": ["alice", "bob"]}}
READS = (
    "Given I have a 'string' named 'message' in 'transaction'\n"
    "Given I have a 'string array' named 'signers' in 'transaction'\n"
    "Then print the 'message'\nThen print the 'signers'\n"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with contract_engine() as run:
        yield run


def bound(script: str, data: JsonObject, keys: JsonObject | None, expected: JsonValue = None) -> ContractCall:
    return make_call(Purpose.CONDITION, "f", script, data, keys, expected, ContractParameters(), added=ADDED)


def printed(engine: Engine, script: str, data: JsonObject | None = None) -> JsonValue:
    """What a script prints; None where it fails."""
    output = engine(
        make_call(Purpose.SCRIPT, "script", script, data or {}, None, None, ContractParameters())
    ).output
    value: JsonValue = json.loads(output) if output.strip() else None
    return value


def test_a_bound_contract_reads_the_message_and_the_signers(engine: Engine) -> None:
    call = bound(READS, {}, {}, ADDED["transaction"])
    assert judge(call, engine(call), ChainParameters()) is None


@pytest.mark.parametrize("name", ["transaction", "trans action", "transaction\0", " transaction", "transaction "])
@pytest.mark.parametrize("where", ["data", "keys"])
def test_nothing_that_a_sender_writes_stands_in_place_of_the_message(
    where: str, name: str, engine: Engine
) -> None:
    """By any name that the engine might take for that of the member: it fails, or goes on with the node's."""
    forged: JsonObject = {name: {"message": "forged", "signers": ["mallory"]}}
    call = bound(READS, forged if where == "data" else {}, forged if where == "keys" else {})
    output = engine(call).output
    assert not output.strip() or json.loads(output) == ADDED["transaction"]


def test_keys_of_null_make_a_contract_fail(engine: Engine) -> None:
    """As in the published packages, which hand the text null over."""
    call = bound("Given nothing\nThen print the string 'ok'\n", {}, None, ["ok"])
    refusal = judge(call, engine(call), ChainParameters())
    assert call.keys == "null" and refusal is not None and refusal.rule == "contract.failed"


def test_random_numbers_come_from_the_seed_alone(engine: Engine) -> None:
    script = "Given nothing\nWhen I create the random object of '64' bits\nThen print the 'random object'\n"
    first, again = printed(engine, script), printed(engine, script)
    assert first == again is not None
    assert printed(engine, "# another\n" + script) != first


@pytest.mark.parametrize("ending", ["\n", "\r\n", " \n", "\n\n\t\n", "\n# a comment\n", "\n   # another\n"])
def test_only_a_line_feed_ends_a_statement(ending: str, engine: Engine) -> None:
    lines = ["Given I have a 'string' named 'a'", "Then print the 'a'"]
    assert printed(engine, ending.join(lines) + ending, {"a": "x"}) == {"a": "x"}


@pytest.mark.parametrize("ending", ["\r", "\v", "\f", "\u2028", "\x85", "; ", "\\\n", "..."])
def test_nothing_else_ends_or_continues_a_statement(ending: str, engine: Engine) -> None:
    lines = ["Given I have a 'string' named 'a'", "Then print the 'a'"]
    assert printed(engine, ending.join(lines), {"a": "x"}) in (None, [])
    parts = ["Given I have a 'string'", "named 'a'", "\nThen print the 'a'"]
    assert printed(engine, ending.join(parts), {"a": "x"}) in (None, [])


def test_blanks_in_names_are_underscores(engine: Engine) -> None:
    script = "Given I have a 'string' named 'my name'\nThen print the 'my_name'\n"
    assert (
        printed(engine, script, {"my name": "x"}) == printed(engine, script, {"my_name": "x"}) == {"my_name": "x"}
    )


def test_a_loop_ends_after_less_than_a_thousand_turns(engine: Engine) -> None:
    script = (
        "Given I have a 'number array' named 'list'\nForeach 'one' in 'list'\nWhen done\nEndForeach\n"
        "Then print the string 'ok'\n"
    )
    assert printed(engine, script, {"list": [1] * 10}) == {"output": ["ok"]}
    assert printed(engine, script, {"list": [1] * 1_000}) is None


def test_loops_do_not_stand_in_one_another(engine: Engine) -> None:
    script = (
        "Given I have a 'number array' named 'list'\nForeach 'one' in 'list'\nForeach 'other' in 'list'\n"
        "When done\nEndForeach\nEndForeach\nThen print the string 'ok'\n"
    )
    assert printed(engine, script, {"list": [1, 2]}) is None


def test_names_beyond_ascii_are_found(engine: Engine) -> None:
    script = "Given I have a 'string' named 'é\U0001f600'\nThen print the 'é\U0001f600'\n"
    assert printed(engine, script, {"é\U0001f600": "ü"}) == {"é\U0001f600": "ü"}


OTHER_BLANKS = "\x1c\x1d\x1e\x1f\x85\xa0\u1680\u180e\u2003\u2028\u202f\u3000"
"""What some versions of Python take for white space; the first four are ASCII, but not white space to C."""


@pytest.mark.parametrize("blank", OTHER_BLANKS, ids=ascii)
def test_no_character_but_six_of_ascii_is_white_space_to_the_engine(blank: str, engine: Engine) -> None:
    counted = "When I create the array{}of '2' random objects\n"
    for line in (counted.format(blank), blank + counted.format(" "), counted.format(" ")[:-1] + blank + "\n"):
        assert printed(engine, f"Given nothing\n{line}Then print the string 'ok'\n") is None
    assert printed(engine, f"Given nothing\n{blank}\nThen print the string 'ok'\n") is None
    for space in SPACE:
        whole = f"{space}Given nothing{space}\n{space}\n{space}# a comment\nThen print the string 'ok'\n"
        assert printed(engine, whole) == {"output": ["ok"]}


@pytest.mark.parametrize("debug", ["bac\u212atrace", "BAC\u212aTRACE", "debu\u0261"], ids=ascii)
def test_the_engine_lowers_letters_of_ascii_only(debug: str, engine: Engine) -> None:
    """The sign for kelvin is a k in lower case to Python."""
    assert printed(engine, f"Given nothing\nWhen I {debug}\nThen print the string 'ok'\n") is None
    (statement,) = statements(f"When I {debug}")
    assert statement.words not in {("backtrace",), ("debug",)}


@pytest.mark.parametrize("name", ["é", "É", "\xa0", "\u3000", "\u0660", "²", "\U00011f02"], ids=ascii)
def test_no_character_beyond_ascii_begins_a_number(name: str, engine: Engine) -> None:
    """The last one is a letter since Unicode 15, to some versions of Python only: it names what data say."""
    rounds = f"When I create the key derivation of 's' with '{name}' rounds\nThen print the string 'ok'\n"
    head = "Given I have a 'string' named 's'\n"
    call = ContractCall("script", Purpose.SCRIPT, head + rounds, '{"s": "x"}', None, bytes(64), None)
    assert engine(call).output == b""
    named = f"{head}Given I have a 'number' named '{name}'\n{rounds}"
    assert printed(engine, named, {"s": "x", name: 2}) == {"output": ["ok"]}
