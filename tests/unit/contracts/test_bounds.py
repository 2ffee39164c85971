# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bounds on a contract's text (consensus-and-storage 8): what is refused without being run, and why."""

import re
from collections import Counter
from pathlib import Path

import pytest

from planetmint.contracts import ContractCall, Purpose, counts, make_call
from planetmint.contracts.bounds import _DEBUGGING
from planetmint.contracts.counts import _BY_EPOCH, _BY_TYPE, _COUNTING
from planetmint.contracts.zencode import statements, words_of
from planetmint.model.errors import InvalidScript, InvalidSignature, InvalidTransaction
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ContractParameters

PARAMETERS = ContractParameters(zenroom="bound", scripts="on")
KDF = "When I create the key derivation of 's' with '{}' rounds\n"


def call(script: str, data: JsonObject | None = None, **bounds: int) -> ContractCall:
    parameters = ContractParameters("bound", "on", **bounds)
    return make_call(Purpose.SCRIPT, "script", script, data or {}, None, {}, parameters)


def broken(script: str, data: JsonObject | None = None, **bounds: int) -> str | None:
    """The rule that a script breaks."""
    try:
        call(script, data, **bounds)
    except InvalidTransaction as refusal:
        return refusal.rule
    return None


# Sizes


def test_a_contract_may_have_as_many_bytes_as_the_chain_says_and_no_more() -> None:
    assert broken("# " + "é" * 9, max_bytes=20) is None
    assert broken("# " + "é" * 9 + "x", max_bytes=20) == "contract.bytes"


def test_data_counts_in_the_ascii_spelling_that_the_engine_gets() -> None:
    assert len(call("", {"a": "é"}).data) == len('{"a": "\\u00e9"}') == 15
    assert broken("", {"a": "é"}, max_data_bytes=15) is None
    assert broken("", {"a": "é"}, max_data_bytes=14) == "contract.data"


def test_data_and_keys_count_together_and_so_does_what_the_node_adds() -> None:
    def rule(most: int, added: JsonObject | None = None) -> str | None:
        bounds = ContractParameters(max_data_bytes=most)
        try:
            make_call(Purpose.CONDITION, "inputs[0].fulfillment", "", {}, {"k": 1}, {}, bounds, added=added)
        except InvalidSignature as refusal:
            return refusal.rule
        return None

    assert rule(2 + 8) is None
    assert rule(2 + 8 - 1) == "contract.data"
    assert rule(2 + 8, {"transaction": {}}) == "contract.data"
    assert rule(19 + 8, {"transaction": {}}) is None


def test_statements_are_counted_without_comments_and_empty_lines() -> None:
    text = "Given nothing\n\n   \t\n# a comment\n   # another\nThen print the string '#'\n"
    assert [item.number for item in statements(text)] == [1, 6]
    assert broken(text, max_statements=2) is None
    assert broken(text, max_statements=1) == "contract.statements"


def test_only_a_line_feed_ends_a_line() -> None:
    assert len(list(statements("a\rb\vc\fd\u2028e\x85f"))) == 1
    assert len(list(statements("a\nb\r\nc"))) == 3


@pytest.mark.parametrize(
    "name", ["é", "\xa0", "\u0660", "\u3000", "\U0002ee5d", "\U00011f02", "\U0010ffff"], ids=ascii
)
def test_any_character_beyond_ascii_begins_a_name_whatever_the_interpreter_takes_it_for(name: str) -> None:
    """U+11F02 is a letter since Unicode 15: of two Pythons one would else accept a block that another refuses."""
    script = f"Given I have a 'number' named '{name}'\n" + KDF.format(name)
    assert broken(script, {name: 5}, max_number=5) is None
    assert broken(script, {name: 6}, max_number=5) == "contract.number"


@pytest.mark.parametrize("blank", ["\x1c", "\x1f", "\x85", "\xa0", "\u2003", "\u3000"], ids=ascii)
def test_white_space_and_letters_beyond_ascii_are_part_of_words(blank: str) -> None:
    assert words_of(f"When I debug{blank}") == (f"debug{blank}",)
    assert words_of(f"when\t\v\f\r I{blank}DEBUG") == (f"i{blank}debug",)
    assert words_of("When bac\u212aTRACE \u0130") == ("bac\u212atrace", "\u0130")
    assert broken(KDF.format(f"{blank}7"), max_number=5) == "contract.number"


def test_a_nul_character_is_refused_because_the_engine_would_stop_reading_there() -> None:
    assert broken("Given nothing\n\0When I debug\n") == "contract.bytes"


@pytest.mark.parametrize(
    ("purpose", "kind"), [(Purpose.SCRIPT, InvalidScript), (Purpose.CONDITION, InvalidSignature)]
)
def test_the_purpose_decides_the_class_of_a_refusal(purpose: Purpose, kind: type[InvalidTransaction]) -> None:
    with pytest.raises(kind) as caught:
        make_call(purpose, "where", "When I debug\n", {}, None, {}, PARAMETERS)
    assert (caught.value.rule, caught.value.field) == ("contract.debug", "where")
    assert "line 1" in caught.value.reason and "'debug'" in caught.value.reason


# What differs from machine to machine


@pytest.mark.parametrize(
    "line",
    [
        "Scenario 'qp'",
        "SCENARIO 'QP': post-quantum",
        "scenario qp",
        "Scenario 'qp",
        "When I create the dilithium key",
        "When I create the ntrup public key with secret key 'one'",
        "and create the Kyber kem for 'key'",
        "If I verify the 'text' has a dilithium signature in 'signature' by 'key'",
    ],
)
def test_the_scenario_of_keys_from_the_machines_own_chance_is_refused(line: str) -> None:
    assert broken(f"{line}\nGiven nothing\n") == "contract.undetermined"


@pytest.mark.parametrize(
    "line", ["Scenario 'ecdh': sign", "When I write string 'kyber' in 'ntrup'", "# Scenario 'qp'"]
)
def test_other_scenarios_and_mere_names_are_not(line: str) -> None:
    assert broken(f"{line}\nGiven nothing\n") is None


# Debugging


@pytest.mark.parametrize("name", ["backtrace", "codec", "config", "debug", "schema", "trace"])
@pytest.mark.parametrize(
    "form", ["Given {}", "When I {}", "and {}", "  THEN   {}  ", "And  valid {}", "then all {}"]
)
def test_statements_that_print_the_memory_of_the_engine_are_refused(form: str, name: str) -> None:
    for spelled in (name, name.upper(), name.capitalize()):
        assert broken("Given nothing\n" + form.format(spelled)) == "contract.debug"


@pytest.mark.parametrize(
    "line",
    ["# debug", "Then print the 'debug'", "Then print the string 'debug'", "When I write string 'x' in 'schema'"],
)
def test_names_and_comments_may_speak_of_debugging(line: str) -> None:
    assert broken(line) is None


# Counts that stand in the statement


@pytest.mark.parametrize("text", ["0", "1", "007", "10000", "00010000", "\t100"])
def test_plain_numbers_up_to_the_bound_may_count(text: str) -> None:
    assert broken(KDF.format(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "10001",
        "9" * 5_000,
        "1e3",
        "1E3",
        "0x10",
        "0X10",
        "0x1p3",
        "1.0",
        "10.",
        ".5",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1_0",
        "1e-3",
        "inf",
        "nan",
        "١٠",
        "１",
        "",
        "1\u00a0",
        "1,000",
        "०",
    ],
)
def test_other_spellings_and_larger_numbers_may_not_count(text: str) -> None:
    assert broken(KDF.format(text)) == "contract.number"


@pytest.mark.parametrize("words", sorted(_COUNTING), ids=" ".join)
def test_every_count_of_every_counting_statement_is_bounded(words: tuple[str, ...]) -> None:
    for place in _COUNTING[words]:
        for number, rule in (("10000", None), ("10001", "contract.number")):
            values = ["1" if at in _COUNTING[words] else "x" for at in range(words.count("''"))]
            values[place] = number
            text = " ".join(words).replace("''", "'{}'").format(*values)
            assert broken("When I " + text) == rule
            assert broken("  and  THAT i " + text.upper().replace(" OF ", "   of ")) == rule


def test_numbers_that_do_not_count_are_free() -> None:
    script = (
        "Given I have a 'number' named 'n'\nWhen I write number '123456789' in 'm'\n"
        "When I create the result of 'n' + 'm'\nThen print the 'result'\n"
    )
    assert broken(script, {"n": 10**15}) is None


# Counts that the statement names

GIVEN = "Given I have a 'number' named 'n'\n"


@pytest.mark.parametrize("value", [0, 1, 10_000, 10_000.0, "10000", "00001"])
def test_a_number_of_the_data_may_count(value: int | float | str) -> None:
    assert broken(GIVEN + KDF.format("n"), {"n": value}) is None


@pytest.mark.parametrize(
    "value", [10_001, 1e300, 0.5, -1, "10001", "1e3", "0x10", "", "9" * 5_000, True, None, [1], {}]
)
def test_other_values_of_the_data_may_not(value: object) -> None:
    assert broken(GIVEN + KDF.format("n"), {"n": value}) == "contract.number"  # type: ignore[dict-item]


def test_every_member_of_the_name_counts_wherever_it_stands() -> None:
    assert broken(GIVEN + KDF.format("n"), {"n": 5, "deep": [{"er": {"n": 10_001}}]}) == "contract.number"
    assert broken(GIVEN + KDF.format("n"), {"n": 5, "deep": [{"er": {"n": 10_000}}]}) is None
    parameters = ContractParameters()
    for keys, refused in (({"n": 10_001}, True), ({"n": 10_000}, False)):
        try:
            make_call(Purpose.CONDITION, "f", GIVEN + KDF.format("n"), {}, dict(keys), {}, parameters)
        except InvalidSignature as refusal:
            assert refused and refusal.rule == "contract.number"
        else:
            assert not refused


@pytest.mark.parametrize("name", ["1e9", "0x10", "-5", "1.5", "+1", ".5e9"])
def test_what_the_engine_takes_for_a_number_is_no_name(name: str) -> None:
    assert broken(f"Given I have a 'number' named '{name}'\n" + KDF.format(name), {name: 5}) == "contract.number"


def test_a_number_may_stand_inside_an_object() -> None:
    assert broken("Given I have a 'number' named 'n' inside 'd'\n" + KDF.format("n"), {"d": {"n": 5}}) is None


def test_names_are_compared_as_the_engine_compares_them() -> None:
    script = "Given I have a 'number' named 'my_count'\n" + KDF.format("my count")
    assert broken(script, {"my count": 5}) is None
    assert broken(script, {"my_count": 10_001}) == "contract.number"
    assert broken(script, {"my count": 5, "x": {"my_count": 10_001}}) == "contract.number"


def test_a_number_that_the_script_writes_may_count() -> None:
    assert broken("When I write number '5' in 'n'\n" + KDF.format("n")) is None
    assert broken("When I set 'n' to '5' as 'number'\n" + KDF.format("n")) is None
    assert broken("When I write number '10001' in 'n'\n" + KDF.format("n")) == "contract.number"
    assert broken("When I write number '1e9' in 'n'\n" + KDF.format("n")) == "contract.number"
    assert broken("When I set 'n' to '10001' as 'number'\n" + KDF.format("n")) == "contract.number"
    assert broken("When I set 'n' to '1000' as 'hex'\n" + KDF.format("n")) == "contract.number"


def test_a_name_that_stands_for_nothing_may_not_count() -> None:
    assert broken(KDF.format("n")) == "contract.number"
    assert broken(GIVEN + KDF.format("n")) == "contract.number"


def test_a_number_that_is_there_but_not_taken_in_may_not_count() -> None:
    """Else a statement that makes up the name of what it makes could put anything in its place."""
    made = "When I create the 'x' public key from did document 'd'\n"
    assert broken(made + KDF.format("x_public_key"), {"x_public_key": 5}) == "contract.number"
    assert broken("Then print 'n'\n" + KDF.format("n"), {"n": 5}) == "contract.number"


def test_a_count_may_be_called_like_its_unit() -> None:
    assert broken("Given I have a 'number' named 'rounds'\n" + KDF.format("rounds"), {"rounds": 5}) is None


@pytest.mark.parametrize(
    "lines",
    [
        "Given I have a 'hex' named 'n'\n",
        "Given I have a 'base64' named 'n'\n",
        "Given I have a 'string' named 'n'\n",
        "Given I have a 'number' named by 'n'\n",
        "Given I rename 'm' to 'n'\n",
        "Given I have a 'number' in path 'd.n'\n",
        GIVEN + "When I set 'n' to 'zz' base '36'\n",
        GIVEN + "When I rename the 'm' to 'n'\n",
        GIVEN + "When I rename 'm' to named by 'x'\n",
        GIVEN + "When I move named by 'x' in 'y'\n",
        GIVEN + "When I copy the 'm' to 'n'\n",
        GIVEN + "When I pickup from path 'm.n'\n",
        GIVEN + "When I take 'n' from path 'm.k'\n",
        GIVEN + "When I append 'm' to 'n'\n",
        GIVEN + "When I append the string '9999' to 'n'\n",
        GIVEN + "When I remove 'n'\n",
        GIVEN + "When I split the leftmost '1' bytes of 'n'\n",
        GIVEN + "When I create the 'n'\n",
        GIVEN + "When I create the 'n' cast of strings in 'm'\n",
        "Foreach 'n' in 'm'\n",
        GIVEN + "Foreach 'n' in 'm'\n",
        "Foreach 'k' in 'm'\nand 'n' in 'm'\n",
        "Given I have a 'string array' named 'm'\nForeach 'k' in 'm'\nand 'n'\n",
    ],
)
def test_what_else_may_have_put_a_number_there_is_refused(lines: str) -> None:
    assert broken(lines + KDF.format("n"), {"n": 5}) == "contract.number"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("When I create the result of '9' * '9999'\n", "result"),
        ("When I create the number from 'x'\n", "number"),
        ("When I create the size of 'x'\n", "size"),
        ("When I create the valid copy of 'x' from 'y'\n", "copy"),
        ("When I create the random object of '9' bits\n", "random object"),
        ("When I create the key derivation of 'x'\n", "key_derivation"),
        ("When I create the HMAC of 'x' with key 'y'\n", "HMAC"),
        ("When I compose the secret using 'x'\n", "secret"),
    ],
)
def test_what_the_engine_makes_itself_may_not_count(line: str, name: str) -> None:
    given = f"Given I have a 'number' named '{name}'\n"
    assert broken(given + line + KDF.format(name), {name: 5, name.replace(" ", "_"): 5}) == "contract.number"


def test_printing_and_counting_leave_a_number_as_it_is() -> None:
    script = GIVEN + KDF.format("n") + "When I create the random dictionary with 'n' random objects from 'x'\n"
    assert broken(script + "Then print the 'n'\nThen print 'n' as 'number'\n", {"n": 5}) is None


@pytest.mark.parametrize(
    ("value", "rule"), [(1, None), (15, None), (0, "contract.number"), (0.1, "contract.number")]
)
@pytest.mark.parametrize("words", sorted(_BY_EPOCH), ids=" ".join)
def test_epochs_last_at_least_a_minute(words: tuple[str, ...], value: float, rule: str | None) -> None:
    script = "Given I have a 'number' named 'epoch'\nWhen I " + " ".join(words)
    assert broken(script, {"epoch": value}) == rule


@pytest.mark.parametrize("words", sorted(_BY_TYPE), ids=" ".join)
def test_lengths_of_arrays_in_types_are_bounded(words: tuple[str, ...]) -> None:
    arguments = ["t" if at in _BY_TYPE[words] else "x" for at in range(words.count("''"))]
    line = "When I " + " ".join(words).replace("''", "'{}'").format(*arguments)
    given = "Given I have a 'string array' named 't'\n"
    assert broken(given + line, {"t": ["uint256[10000]"]}) is None
    assert broken(given + line, {"t": ["uint256[10001]"]}) == "contract.number"
    assert broken("Given I have a 'hex array' named 't'\n" + line, {"t": ["75"]}) == "contract.number"
    assert broken(line, {"t": ["uint256"]}) == "contract.number"
    assert broken(given + "When I append 'x' to 't'\n" + line, {"t": []}) == "contract.number"


# The tables and the engine


def engine_statements() -> set[tuple[str, ...]]:
    """Every statement that the installed engine registers, read from its library."""
    import zenroom._config

    text = Path(zenroom._config.LIBZENROOM_LOC).read_bytes().decode("latin-1")
    calls = re.findall(
        r"""^[ \t]*(?:When|IfWhen|Given|Then|Foreach)\(\s*(?:deprecated\(\s*)?"""
        r"""(?:"([^"\n]*)"|'((?:[^'\n]|'')*)')""",
        text,
        re.MULTILINE,
    )
    return {words_of(double or single) for double, single in calls}


def test_every_statement_of_the_tables_is_one_of_the_engine() -> None:
    known = engine_statements()
    assert len(known) > 250
    assert _COUNTING.keys() | _BY_EPOCH.keys() | _BY_TYPE.keys() | _DEBUGGING <= known


SIZED_BY_THEIR_OBJECTS = """
create the random ''
randomize the '' array
pick the random object in ''
seed the random with ''
create the copy of element '' in array ''
create the copy of last element in ''
create the pvss verified shares from ''
create the array by splitting '' at ''
create the array of elements named '' for dictionaries in ''
create the array of objects named by '' found in ''
verify '' is found in '' at least '' times
the '' is found in '' at least '' times
verify the '' is found in '' at least '' times
create the new array
create the flat array of contents in ''
create the flat array of keys in ''
create the sum value of elements in array ''
create the average of elements in array ''
create the variance of elements in array ''
create the standard deviation of elements in array ''
create the aggregation of array ''
aggregate the reflow public key from array ''
aggregate the reflow seal array in ''
create the result of '' % ''
'' in sequence from '' to '' with step ''
create the size of ''
create the length of ''
verify the length of '' is less than ''
verify the length of '' is less or equal than ''
verify the length of '' is more than ''
verify the length of '' is more or equal than ''
the elements in '' are equal
the elements in '' are not equal
verify the elements in '' are equal
verify the elements in '' are not equal
create the '' decoded from ethereum bytes ''
create the string from the ethereum bytes named ''
set '' to '' base ''
verify the ethereum address signature pair array '' of ''
use the ethereum address signature pair array '' to create the result array of ''
create the bbs proof of the signature '' of the messages '' using '' with public key '' presentation header '' and disclosed indexes ''
verify the bbs proof using '' with public key '' presentation header '' disclosed messages '' and disclosed indexes ''
"""  # noqa: E501
"""Statements that speak of sizes and places, and do no more than the objects that they are given are large, or as
the engine's own limit on turns allows."""


def test_every_statement_of_the_engine_that_speaks_of_sizes_is_bounded_or_known_to_need_no_bound() -> None:
    """Another engine's new statements are noticed here."""
    sizes = {"bits", "bytes", "rounds", "quorum", "times", "length", "size", "random", "epoch", "sequence", "step"}
    sizes |= {"indexes", "modulo", "base", "element", "elements", "array", "shares", "leftmost", "rightmost"}
    speak = {words for words in engine_statements() if sizes & set(words)}
    known = set(map(words_of, SIZED_BY_THEIR_OBJECTS.split("\n"))) | _COUNTING.keys()
    assert len(speak) > 40
    assert speak <= known, sorted(speak - known)


# Work


def test_the_check_of_the_worst_text_walks_the_data_once_and_for_each_name_what_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bounds themselves must not become the work: many names, many statements, much data."""
    script = "".join(f"Given a 'number' named 'a{i}'\n" for i in range(100))
    script += "".join(f"When I create the key derivation of 's' with 'a{i}' rounds\n" for i in range(100))
    data: JsonObject = {f"a{i}": i for i in range(6_000)}
    named, read = Counter[str](), Counter[int]()
    name_of, leaves = counts.name_of, counts._Texts._leaves

    def counted_name(argument: str) -> str:
        named[argument] += 1
        return name_of(argument)

    def counted_line(texts: counts._Texts, line: counts._Line, name: str, written: list[JsonValue]) -> bool:
        read[line.number] += 1
        return leaves(texts, line, name, written)

    monkeypatch.setattr(counts, "name_of", counted_name)
    monkeypatch.setattr(counts._Texts, "_leaves", counted_line)
    assert broken(script, data) is None
    assert set(named.values()) == {1}
    assert len(named) == 6_000
    assert read == dict.fromkeys(range(1, 201), 1)
