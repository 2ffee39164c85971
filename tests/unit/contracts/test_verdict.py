# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an answer of the engine means (transactions 5.4 and 6)."""

import pytest

from planetmint.contracts import ContractCall, EngineAnswer, Purpose, equal_json, hint, judge
from planetmint.model.errors import InvalidScript, InvalidSignature, InvalidTransaction
from planetmint.model.json import JsonValue
from planetmint.model.parameters import ChainParameters

PARAMETERS = ChainParameters()


def verdict(
    output: str | bytes, expected: JsonValue, logs: bytes = b"", purpose: Purpose = Purpose.SCRIPT
) -> InvalidTransaction | None:
    call = ContractCall("script", purpose, "", "{}", None, bytes(64), expected)
    raw = output.encode() if isinstance(output, str) else output
    return judge(call, EngineAnswer(raw, logs), PARAMETERS)


def rule(output: str | bytes, expected: JsonValue) -> str | None:
    refusal = verdict(output, expected)
    return refusal and refusal.rule


def test_a_member_output_is_what_is_compared() -> None:
    assert rule('{"output":["ok"]}\n', ["ok"]) is None
    assert rule('{"output":["ok"],"more":1}', ["ok"]) is None
    assert rule('{"output":["ok"]}', {"output": ["ok"]}) == "contract.output"
    assert rule('{"output":null}', {"output": None}) == "contract.output"
    assert rule('{"output":{"output":1}}', {"output": 1}) is None


def test_without_it_the_whole_object_is_compared() -> None:
    assert rule('{"a":"hello"}', {"a": "hello"}) is None
    assert rule('{"a":"hello","b":1}', {"a": "hello"}) == "contract.output"
    assert rule('{"a":"hello"}', {"a": "hello", "b": 1}) == "contract.output"
    assert rule("{}", {}) is None


@pytest.mark.parametrize(
    "output",
    [
        "",
        "\n",
        "[]",
        '["ok"]',
        "7",
        '"ok"',
        "true",
        "null",
        "ok",
        '{"a":1',
        '{"a":NaN}',
        "{} {}",
        '{"a":1e999}',
        '{"a":' + "1" * 309 + "}",
        '{"a":' * 401 + "1" + "}" * 401,
        "\0{}",
        '{"a":"\\ud800"}',
    ],
)
def test_what_is_no_json_object_is_a_failure(output: str) -> None:
    assert rule(output, []) == rule(output, ["ok"]) == "contract.failed"


def test_octets_that_are_not_utf_8_are_a_failure() -> None:
    assert rule(b'{"a":"\xff"}', {"a": "\xff"}) == "contract.failed"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('{"a":7}', {"a": 7.0}),
        ('{"a":7.0}', {"a": 7}),
        ('{"a":1e2}', {"a": 100}),
        ('{"a":-0.0}', {"a": 0}),
        ('{"b":2,"a":1}', {"a": 1, "b": 2}),
        ('{"a":"\\u00e9"}', {"a": "é"}),
        ('{"a":[true,false,null]}', {"a": [True, False, None]}),
        ('{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_the_same_json_value_in_another_spelling_is_the_same(output: str, expected: JsonValue) -> None:
    assert rule(output, expected) is None


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ('{"a":true}', {"a": 1}),
        ('{"a":1}', {"a": True}),
        ('{"a":0}', {"a": False}),
        ('{"a":[1]}', {"a": [True]}),
        ('{"a":null}', {"a": 0}),
        ('{"a":null}', {"a": False}),
        ('{"a":null}', {}),
        ('{"a":"7"}', {"a": 7}),
        ('{"a":[1,2]}', {"a": [2, 1]}),
        ('{"a":[1,2]}', {"a": [1]}),
        ('{"a":[]}', {"a": {}}),
        ('{"a":9007199254740993}', {"a": 9007199254740992.0}),
        ('{"A":1}', {"a": 1}),
        ('{"a":"e\\u0301"}', {"a": "é"}),
    ],
)
def test_other_json_values_differ(output: str, expected: JsonValue) -> None:
    assert rule(output, expected) == "contract.output"


def test_values_as_deep_as_a_chain_allows_are_compared() -> None:
    def nested(core: JsonValue) -> JsonValue:
        for level in range(5_000):
            core = [core] if level % 2 else {"a": core}
        return core

    assert equal_json(nested(1), nested(1.0))
    assert not equal_json(nested(1), nested(True))


@pytest.mark.parametrize(
    ("purpose", "kind"), [(Purpose.SCRIPT, InvalidScript), (Purpose.CONDITION, InvalidSignature)]
)
def test_the_purpose_decides_the_class(purpose: Purpose, kind: type[InvalidTransaction]) -> None:
    for output in ("", '{"output":["no"]}'):
        refusal = verdict(output, ["ok"], purpose=purpose)
        assert type(refusal) is kind and refusal.field == "script"


def test_the_text_of_a_differing_script_is_the_documented_one() -> None:
    """validation 3.1."""
    refusal = verdict('{"output":["no"]}', ["ok"])
    assert refusal is not None and refusal.reason == "script did not produce the declared outputs"


LOGS = b""" .   Release version: 3.16.1
[W]  Zencode is missing version check, please add: rule check version N.N.N
[W]  {
    a_GIVEN_in = {
        a = "[!] mine"
    },
}
[W]  Given I have a 'hex' named 'a'
[W]   D  ZEN:pick found a(e)
[W]  [!] [string "zencode_given"]:196: Could not read a
[!]  ERROR:
[!]  EXEC: [string "zencode"]:803: Given I have a 'hex' named 'a'
[!]  Execution aborted
[*]  Zenroom teardown.
"""


def test_a_failure_tells_what_the_engine_complained_about_and_where() -> None:
    refusal = verdict("", ["ok"], LOGS)
    assert refusal is not None
    assert refusal.reason == "script failed: Could not read a, at: Given I have a 'hex' named 'a'"


@pytest.mark.parametrize(
    ("logs", "shown"),
    [
        (b'[!]  ERROR:\n[!]  PARSE: [string "zencode"]:597: Invalid line 1: \'x\'\n', "Invalid line 1: 'x'"),
        (b"Empty string as script argument\nExecution aborted\n", "Empty string as script argument"),
        (b"[W]  Zencode text too short to parse\n", "Zencode text too short to parse"),
        (b" .   Release\n[W]  Zencode is missing version check\n[*]  Zenroom teardown.\n", ""),
        (b"", ""),
        (b"\xff\xfe[!]\n[!]  EXEC: a\x1b[31m\x00b\n", "a [31m b"),
    ],
)  # fmt: skip
def test_the_hint_is_one_printable_line(logs: bytes, shown: str) -> None:
    assert hint(logs) == shown


def test_the_hint_is_short_however_long_the_messages_are() -> None:
    assert len(hint(b"[!]  EXEC: " + b"x" * 1_000_000)) == 200
    assert hint(b"[W]  \n" * 200_000) == ""


def test_a_failure_without_messages_says_what_was_found() -> None:
    for output, reason in (("", "it printed nothing"), ("[]", "its output is not a JSON object")):
        refusal = verdict(output, [])
        assert refusal is not None and refusal.reason == f"script failed: {reason}"
