# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts of people who wish a node ill, as scripts of 3.0 transactions and as zenroom leaves of fulfillments.

Each says what has to become of it under the default bounds, found out by experiments with the engine that chains
name (zenroom 3.16.1) and written down here by hand. None may stop a node, give two nodes two verdicts, or take
more of a machine than its limits grant. Source: transactions 5.4 and 6, decision D15.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from planetmint.model import json
from planetmint.model.condition import ZenroomFulfillment
from planetmint.model.json import JsonObject, JsonValue
from planetmint.model.parameters import ContractParameters
from planetmint.testing.build import Builder, Built, Contract, Dialect, Signing, all_of, details, names

DEFAULTS = ContractParameters()
OWNER = "mallory"
_OK: JsonValue = ["ok"]
_PRINT = "Then print the string 'ok'"
_IDLE = "Given I am 'Mallory'"
"""Reads nothing. ``Given nothing`` would refuse the data that a leaf always has."""


class Fate(StrEnum):
    """What becomes of a contract."""

    REFUSED = "refused"
    """Its text is beyond a bound: the engine never sees it."""

    FAILED = "failed"
    """The engine has no result for it: rule ``contract.failed``."""

    DIFFERS = "differs"
    """Its result is not the declared one: rule ``contract.output``."""

    OVERRUN = "overrun"
    """A local limit stops it, or it ends the engine's process: no verdict, and never admitted."""

    HARMLESS = "harmless"
    """It is accepted, because it does no harm."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One contract.

    Attributes:
        name: Unique; words joined by underscores.
        fate: What has to become of it.
        script: Zencode; bytes where it is no text, which only a leaf can carry.
        data: What it is given; bytes where it is no JSON object, which only a leaf can carry.
        keys: Only a leaf has any.
        outputs: What the transaction declares.
        rule: Which bound it breaks, where it is refused unread.
        endless: It has no end, or none within minutes: it must never be run without a limit.
        heavy: It takes so much that it may be an overrun on a slow or a busy machine.
    """

    name: str
    fate: Fate
    script: str | bytes
    data: JsonObject | bytes
    keys: JsonObject | bytes | None = None
    outputs: JsonValue = None
    rule: str | None = None
    endless: bool = False
    heavy: bool = False

    @property
    def fits_script(self) -> bool:
        """Whether it can stand in the member `script` of a 3.0 transaction."""
        return isinstance(self.script, str) and not isinstance(self.data, bytes) and self.keys is None

    def as_script(self, nonce: str = "") -> Built:
        """A 3.0 CREATE with the contract as its script; `nonce` makes transactions differ."""
        assert isinstance(self.script, str) and not isinstance(self.data, bytes)
        draft = Builder(Dialect.PLANETMINT_2).draft_create(OWNER, data=self.name + nonce)
        return draft.scripted(self.data, self._declared, code=self.script).signed()

    def as_leaf(self, nonce: str = "") -> Built:
        """A 2.0 CREATE whose fulfillment holds the contract beside its owner's signature."""
        shown = all_of(OWNER, Contract(""))
        keys = {} if self.keys is None else self.keys
        given = ZenroomFulfillment(_octets(self.script), _octets(self.data), _octets(keys))
        draft = Builder(Dialect.PLANETMINT_1).draft_create(OWNER, data=self.name + nonce)
        draft = draft.scripted({}, self._declared, code="# see the fulfillment")
        return replace(draft, signing=(Signing(details(shown), names(shown), (given,)),)).signed()

    def transactions(self, nonce: str = "") -> Iterator[Built]:
        """It in every form that it has."""
        if self.fits_script:
            yield self.as_script(nonce)
        yield self.as_leaf(nonce)

    @property
    def _declared(self) -> JsonValue:
        return _OK if self.outputs is None else self.outputs


def corpus() -> tuple[Hostile, ...]:
    """All of them; at least 50, names unique."""
    groups: tuple[Callable[[], Iterator[Hostile]], ...] = (
        _endless,
        _long,
        _large,
        _crashing,
        _undetermined,
        _reaching_out,
        _results,
        _texts,
        _malformed,
        _bounds,
        _counts,
        _debugging,
    )
    return tuple(item for group in groups for item in group())


def _octets(value: JsonObject | str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.canonical(value)


def _given(**kinds: str) -> str:
    """Lines that read objects: name and kind of each."""
    return "\n".join(f"Given I have a '{kind.replace('_', ' ')}' named '{name}'" for name, kind in kinds.items())


def _zencode(*lines: str, given: str = _IDLE, scenario: str = "", then: str = _PRINT) -> str:
    """A script; `lines` follow `given` as they are."""
    head = [f"Scenario '{scenario}'"] if scenario else []
    return "\n".join((*head, given, *lines, then)) + "\n"


_TURNS: JsonObject = {"one": 1, "last": 990}


def _turning(*body: str, then: str = _PRINT) -> str:
    """A loop of 990 turns, which is about what the engine allows."""
    loop = "Foreach 'turn' in sequence from 'one' to 'last' with step 'one'"
    return _zencode(loop, *body, "EndForeach", given=_given(one="number", last="number"), then=then)


def _endless() -> Iterator[Hostile]:
    """Single statements that the engine does not come back from."""
    overrun = Fate.OVERRUN
    divided = _zencode("When I create the result of '1/0'")
    yield Hostile("division_by_zero", overrun, divided, {}, endless=True)
    for name, sign in (("quotient_of_integers", "/"), ("remainder_of_integers", "%")):
        script = _zencode(f"When I create the result of 'a' {sign} 'b'", given=_given(a="integer", b="integer"))
        yield Hostile(f"{name}_by_zero", overrun, script, {"a": "1", "b": "0"}, endless=True)
    script = _zencode("When I verify 'a' is a email", given=_given(a="string"))
    yield Hostile(
        "address_that_backtracks", overrun, script, {"a": "a." * 40_000 + "@" + "b." * 4_000}, endless=True
    )
    lines = [
        "When I create the new array",
        "When I rename the 'new array' to 'a0'",
        "When I insert string 'x' in 'a0'",
    ]
    for level in range(28):
        lines += ["When I create the new array", f"When I rename the 'new array' to 'a{level + 1}'"]
        lines += [f"When I copy 'a{level}' in 'a{level + 1}'"] * 2
    script = _zencode(*lines, then="Then print the 'a28'")
    yield Hostile("tree_that_doubles_28_times", overrun, script, {}, endless=True)


def _long() -> Iterator[Hostile]:
    """Within every bound, and yet seconds of work: nested loops by another name."""
    made = "When I create the array of '{}' random objects"
    again = "When I delete the 'array'"
    overrun = Fate.OVERRUN
    yield Hostile("loop_of_arrays_of_1000", overrun, _turning(made.format(1_000), again), _TURNS)
    script = _turning(made.format(10_000), again)
    yield Hostile("loop_of_arrays_of_10000", overrun, script, _TURNS, endless=True)
    rounds = ["When I create the key derivation of 'a' with '10000' rounds", "When I delete the 'key derivation'"]
    script = _turning("When I write string 'a' in 'a'", *rounds, "When I delete the 'a'")
    yield Hostile("loop_of_key_derivations", overrun, script, _TURNS, endless=True)
    script = _zencode("When I write string 'a' in 'a'", *rounds * 98)
    yield Hostile("key_derivations_one_after_another", overrun, script, {})
    script = _zencode("When I create the array of '10000' random objects of '10000' bytes")
    yield Hostile("array_of_10000_objects_of_10000_bytes", overrun, script, {})
    keys = [
        line for _ in range(90) for line in ("When I create the bbs signature of 'a'", _deleted("bbs_signature"))
    ]
    script = _zencode("When I create the bbs key", *keys, given=_given(a="string_array"), scenario="bbs")
    yield Hostile("signatures_over_thousands_of_messages", overrun, script, {"a": ["x"] * 2_000}, endless=True)
    yield Hostile(
        "loop_of_989_turns_over_nothing",
        Fate.HARMLESS,
        _turning("When I write string 'a' in 'b'", _deleted("b")),
        _TURNS,
        heavy=True,
    )
    script = _zencode("Foreach 'x' in 'a'", "When I copy 'x' in 'a'", "EndForeach", given=_given(a="string_array"))
    yield Hostile("loop_that_feeds_itself", Fate.FAILED, script, {"a": ["1", "2"]}, heavy=True)
    script = _zencode("When I randomize the 'a' array", given=_given(a="number_array"))
    yield Hostile("shuffle_of_10000_numbers", Fate.HARMLESS, script, {"a": [*range(10_000)]}, heavy=True)


def _deleted(name: str) -> str:
    return f"When I delete the '{name}'"


def _large() -> Iterator[Hostile]:
    """Memory, output and logs."""
    overrun, text = Fate.OVERRUN, "x" * 90_000
    unescaped = _zencode(
        "When I create the json unescaped object of 'a'", given=_given(a="string"), then="Then print data"
    )
    yield Hostile(
        "json_in_a_string_40000_deep", overrun, unescaped, {"a": "[" * 40_000 + "]" * 40_000}, endless=True
    )
    names_ = [f"a{number}" for number in range(90)]
    arrays = [
        f"When I create the array of '10000' random objects\nWhen I rename the 'array' to '{name}'"
        for name in names_
    ]
    yield Hostile("many_small_allocations", overrun, _zencode(*arrays), {}, endless=True)
    grown = ["When I copy 'a' to 'b'", "When I append 'b' to 'a'", _deleted("b")] * 5
    copies = [f"When I copy 'a' to 'c{number}'" for number in range(170)]
    given = _given(a="string")
    yield Hostile(
        "gigabytes_of_copies",
        overrun,
        _zencode(*grown, *copies, given=given, then="Then print data"),
        {"a": text},
        endless=True,
    )
    several = "\n".join(f"Then print 'a' as 'string' in 'x{number}'" for number in range(20))
    yield Hostile("output_of_2_megabytes", overrun, _zencode(given=given, then=several), {"a": text})
    many = "\n".join(f"Then print 'a' as 'string' in 'x{number}'" for number in range(190))
    yield Hostile("output_of_17_megabytes", overrun, _zencode(given=given, then=many), {"a": text})
    script = _zencode("When I copy 'a' to 'b'", "When I append 'b' to 'a'", given=given, then="Then print the 'a'")
    yield Hostile("output_of_200_kilobytes", Fate.DIFFERS, script, {"a": text})
    failing = "When I create the result of 'a' + 'a'"
    yield Hostile("logs_of_200_kilobytes", Fate.FAILED, _zencode(failing, given=given), {"a": text})
    yield Hostile("logs_of_megabytes", Fate.FAILED, _zencode(*grown[:12], failing, given=given), {"a": text})
    doubled = ["When I copy 'a' to 'b'", "When I append 'b' to 'a'", _deleted("b")] * 30
    yield Hostile("text_that_doubles_30_times", Fate.OVERRUN, _zencode(*doubled, given=given), {"a": "x" * 9_000})
    script = _zencode(given=_given(a="string_array"), then="Then print the 'a'")
    yield Hostile("data_390_deep", Fate.DIFFERS, script, {"a": _nested(388)})
    parts = "(" * 4_000 + "1" + ")" * 4_000
    yield Hostile(
        "formula_4000_deep",
        Fate.DIFFERS,
        _zencode(f"When I create the result of '{parts}'", then="Then print the 'result'"),
        {},
    )
    factors = "*".join(["9" * 20] * 300)
    yield Hostile("product_of_6000_digits", Fate.FAILED, _zencode(f"When I create the result of '{factors}'"), {})


def _nested(levels: int) -> JsonValue:
    value: JsonValue = "x"
    for _ in range(levels):
        value = [value]
    return value


def _crashing() -> Iterator[Hostile]:
    """What corrupts the engine's memory; in a process of its own that is the end of this process alone."""
    signed = _zencode(
        "When I create the ethereum key",
        "When I create the ethereum signature of 'd'",
        given=_given(d="string_dictionary"),
        scenario="ethereum",
    )
    yield Hostile("ethereum_signature_of_a_dictionary", Fate.OVERRUN, signed, {"d": {"a": "b"}})
    checked = _zencode(
        "If I verify the 'd' has a ethereum signature in 's' by 'i'",
        _PRINT,
        "EndIf",
        given=_given(d="string_dictionary", s="string", i="number"),
        scenario="ethereum",
    )
    yield Hostile(
        "ethereum_signature_that_is_a_number", Fate.OVERRUN, checked, {"d": {"a": "b"}, "s": "x", "i": 7}
    )
    script = _zencode(
        "When I create the bbs key",
        "When I create the bbs signature of 'a'",
        given=_given(a="number_array"),
        scenario="bbs",
    )
    yield Hostile("bbs_signature_of_numbers", Fate.OVERRUN, script, {"a": [1, 2, 3]})


def _undetermined() -> Iterator[Hostile]:
    """What could differ from node to node: chance, time, memory that was never written, the order of members."""
    random = "When I create the random object of '256' bits"
    yield Hostile("chance", Fate.DIFFERS, _zencode(random, then="Then print the 'random object'"), {})
    seeded = _zencode(
        "When I seed the random with 's'", random, given=_given(s="string"), then="Then print the 'random object'"
    )
    yield Hostile("chance_with_a_seed_of_its_own", Fate.DIFFERS, seeded, {"s": "x" * 64})
    picked = _zencode(
        "When I pick the random object in 'd'",
        given=_given(d="string_dictionary"),
        then="Then print the 'random object'",
    )
    yield Hostile("chance_among_members", Fate.DIFFERS, picked, {"d": {f"k{n}": f"v{n}" for n in range(40)}})
    keys = _zencode("When I create the ecdh key", scenario="ecdh", then="Then print the keyring")
    yield Hostile("secrets_printed", Fate.DIFFERS, keys, {})
    length = _zencode(
        "If I verify the length of 's' is more than 'a'",
        "Then print the string 'more'",
        "EndIf",
        given=_given(s="string", a="number_array"),
    )
    yield Hostile("length_against_an_array", Fate.DIFFERS, length, {"s": "hello world", "a": [1, 2, 3, 4, 5]})
    today = _zencode(
        "When I renew the secret day key to a new day", scenario="dp3t", given=_given(secret_day_key="hex")
    )
    yield Hostile("key_of_the_day", Fate.HARMLESS, today, {"secret_day_key": "00" * 32})
    hashed = _zencode(
        "When I create the hash of 'd'", given=_given(d="string_dictionary"), then="Then print the 'hash'"
    )
    yield Hostile("order_of_members", Fate.DIFFERS, hashed, {"d": {f"k{n}": f"v{n}" for n in range(200)}})
    listed = _zencode(
        "When I create the array of elements named 'a' for dictionaries in 'd'",
        given=_given(d="number_dictionary"),
        then="Then print the 'array'",
    )
    yield Hostile("order_of_dictionaries", Fate.DIFFERS, listed, {"d": {f"k{n}": {"a": n} for n in range(60)}})
    rule = "contract.undetermined"
    for key in ("dilithium", "kyber", "ntrup"):
        made = _zencode(f"When I create the {key} key", scenario="qp", then="Then print the keyring")
        yield Hostile(f"chance_of_the_machine_for_{key}", Fate.REFUSED, made, {}, rule=rule)
    beyond = "When I create the ntrup public key with secret key 'a'"
    script = _zencode(beyond, given=_given(a="number"), scenario="qp", then="Then print data")
    yield Hostile("memory_printed_behind_a_key", Fate.REFUSED, script, {"a": 1}, rule=rule)
    for kind, scenario, value in (("ecdh_public_key", "ecdh", "Aw=="), ("reflow_identity", "reflow", "Aw==")):
        short = _zencode(given=_given(a=kind), scenario=scenario)
        yield Hostile(f"{kind}_of_one_byte", Fate.FAILED, short, {"a": value})
    precise = _zencode(given=_given(a="float"), then="Then print the 'a'")
    yield Hostile(
        "digits_beyond_a_double",
        Fate.DIFFERS,
        precise,
        {"a": 0.12345678901234567},
        outputs={"a": 0.12345678901234567},
    )


def _reaching_out() -> Iterator[Hostile]:
    """Files, processes, networks, other languages."""
    for name, line in (
        ("file", "When I read the content of file '/etc/passwd'"),
        ("fork", "When I fork the process"),
        ("command", "When I execute the command 'id'"),
        ("include", "Include '/etc/passwd'"),
        ("load", "Rule load os"),
    ):
        yield Hostile(f"attempt_at_a_{name}", Fate.FAILED, _zencode(line), {})
    program = "local f = io.open('/etc/passwd')\nprint(f:read('*a'))\n"
    yield Hostile("program_in_the_engines_language", Fate.FAILED, program, {})
    quoted = "Given nothing\nThen print the string ''..os.execute('id')..''\n"
    yield Hostile("program_between_quotes", Fate.FAILED, quoted, {})
    yield Hostile("scenario_that_is_a_path", Fate.HARMLESS, _zencode(scenario="../../../../etc/passwd"), {})
    yield Hostile("scenario_that_is_unknown", Fate.HARMLESS, _zencode(scenario="nowhere"), {})
    url = _zencode(
        "When I create the url from 'u'",
        "When I append 'p' as http request to 'url'",
        scenario="http",
        given=_given(u="string", p="string"),
    )
    yield Hostile("request_over_http", Fate.HARMLESS, url, {"u": "http://127.0.0.1:9984/api/v1", "p": "x"})
    yield Hostile(
        "rule_to_ignore_the_unknown",
        Fate.HARMLESS,
        "Rule unknown ignore\n" + _zencode("When I fork the process"),
        {},
    )
    yield Hostile("rule_of_another_version", Fate.HARMLESS, "Rule check version 99.0.0\n" + _zencode(), {})
    yield Hostile("rule_that_breaks_the_output", Fate.FAILED, "Rule set output x\n" + _zencode(), {})
    yield Hostile(
        "rule_that_sets_the_turns_of_loops",
        Fate.FAILED,
        "Rule set maxiter 100000\n" + _turning("When I write string 'a' in 'b'", _deleted("b")),
        {"one": 1, "last": 10_000},
        heavy=True,
    )


def _results() -> Iterator[Hostile]:
    """Answers that are none."""
    failed = Fate.FAILED
    yield Hostile("empty_script", failed, "", {})
    yield Hostile("keys_that_are_null", failed, _zencode(), {}, keys=b"null")
    yield Hostile("given_nothing_where_something_is_given", failed, "Given nothing\n" + _PRINT, {"a": "b"})
    yield Hostile("blank_script", failed, "\n \n\t\n", {})
    yield Hostile("comments_alone", failed, "# nothing is done here\n" * 50, {})
    yield Hostile("nothing_printed", failed, "Given nothing\n", {}, outputs=[])
    yield Hostile("list_as_result", failed, "Given nothing\nThen nothing\n", {}, outputs=[])
    yield Hostile("if_that_never_ends", failed, _zencode("If I verify 'a' is found"), {}, outputs=[])
    yield Hostile(
        "foreach_that_never_ends",
        failed,
        _zencode("Foreach 'x' in 'a'", given=_given(a="number_array")),
        {"a": [1]},
    )
    yield Hostile(
        "foreach_in_foreach",
        failed,
        _zencode(
            *["Foreach 'x' in 'a'"] * 2,
            "When I write string 'x' in 'b'",
            *["EndForeach"] * 2,
            given=_given(a="number_array"),
        ),
        {"a": [1]},
    )
    yield Hostile("storm_of_endifs", failed, _zencode(*["EndIf"] * 150), {})
    yield Hostile("statements_out_of_order", failed, _PRINT + "\nGiven nothing\n", {})
    yield Hostile("keys_that_are_missing", failed, _zencode(scenario="ecdh", given="Given I have a 'keyring'"), {})
    yield Hostile("number_that_is_a_text", failed, _zencode(given=_given(a="number")), {"a": "twelve"})
    yield Hostile("dictionary_that_is_null", failed, _zencode(given=_given(a="string_dictionary")), {"a": None})
    yield Hostile("number_beyond_a_float", failed, _zencode(given=_given(a="number")), {"a": 1e308})
    yield Hostile("name_in_data_and_keys", failed, _zencode(given=_given(a="string")), {"a": "1"}, keys={"a": "2"})
    yield Hostile("other_output_than_declared", Fate.DIFFERS, _zencode(), {}, outputs=["no"])
    yield Hostile(
        "true_for_one",
        Fate.DIFFERS,
        _zencode(given=_given(a="number"), then="Then print the 'a'"),
        {"a": 1},
        outputs={"a": True},
    )


def _texts() -> Iterator[Hostile]:
    """Unusual text."""
    yield Hostile("carriage_returns", Fate.HARMLESS, _zencode().replace("\n", "\r\n"), {})
    yield Hostile("carriage_returns_alone", Fate.FAILED, _zencode().replace("\n", "\r"), {})
    yield Hostile("tabs", Fate.FAILED, _zencode().replace(" ", "\t"), {})
    yield Hostile("no_end_of_line", Fate.HARMLESS, _zencode().rstrip("\n"), {})
    yield Hostile("bidirectional_text", Fate.DIFFERS, _zencode(then="Then print the string '\u202eko\u202c'"), {})
    yield Hostile(
        "control_characters",
        Fate.DIFFERS,
        _zencode(then="Then print the string '\x01\x02\x08\x0b\x1b[2J\x7f'"),
        {},
    )
    yield Hostile("line_separators", Fate.DIFFERS, _zencode(then="Then print the string '\u2028\u2029\x85'"), {})
    yield Hostile(
        "line_of_15000_characters", Fate.DIFFERS, _zencode(then=f"Then print the string '{'a' * 15_000}'"), {}
    )
    yield Hostile(
        "five_hundred_arguments", Fate.FAILED, _zencode(then="Then print the string " + "'a' " * 500), {}
    )
    yield Hostile("quote_in_quotes", Fate.FAILED, _zencode(then="Then print the string 'it's'"), {})
    yield Hostile("nul_in_the_script", Fate.REFUSED, "Given nothing\n\0" + _PRINT, {}, rule="contract.bytes")
    printed = _zencode(given=_given(a="string"), then="Then print the 'a'")
    yield Hostile("nul_in_data", Fate.DIFFERS, printed, {"a": "x\0y"}, outputs={"a": "x\0y"})
    marks: JsonObject = {"a": "[!]" * 30_000}
    yield Hostile("marks_of_messages", Fate.FAILED, "Given nothing\nThen print data\n", marks)
    yield Hostile("marks_of_messages_in_a_number", Fate.FAILED, _zencode(given=_given(a="number")), marks)
    complaint: JsonObject = {"a": "\n[!]  not enough memory\n"}
    yield Hostile("message_about_memory_in_vain", Fate.FAILED, "Given nothing\nThen print data\n", complaint)
    feigned = _zencode(given="Given I have a 'string' named by 'a'")
    yield Hostile("message_about_memory_feigned", Fate.OVERRUN, feigned, complaint)
    yield Hostile("message_about_memory", Fate.DIFFERS, printed, {"a": "\n[!] not enough memory\n"})


def _malformed() -> Iterator[Hostile]:
    """Leaves whose octets are not even text or JSON."""
    script = _zencode()
    refused = Fate.REFUSED
    yield Hostile("script_that_is_not_utf8", refused, script.encode() + b"\xff\xfe", {}, rule="contract.bytes")
    yield Hostile(
        "script_with_half_a_pair", refused, b"Given nothing\n# \xed\xa0\x80\n", {}, rule="contract.bytes"
    )
    for name, octets in (
        ("no_json", b"{"),
        ("a_list", b"[1]"),
        ("a_number", b"1"),
        ("an_infinity", b'{"a":Infinity}'),
        ("too_deep", b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
        ("a_number_of_5000_digits", b'{"a":' + b"9" * 5_000 + b"}"),
    ):
        yield Hostile(f"data_that_is_{name}", refused, script, octets, rule="contract.data")
        yield Hostile(f"keys_that_are_{name}", refused, script, {}, octets, rule="contract.data")
    twice = b'{"a":"no","a":"ok"}'
    yield Hostile(
        "members_twice",
        Fate.HARMLESS,
        _zencode(given=_given(a="string"), then="Then print the 'a'"),
        twice,
        outputs={"a": "ok"},
    )
    forged = b'{"transaction":{"message":"00","signers":[]}}'
    yield Hostile(
        "forged_word_of_the_node",
        Fate.FAILED,
        _zencode(
            "If I verify 'message' is equal to 'zero'",
            _PRINT,
            "EndIf",
            given="Given I have a 'string' named 'message' in 'transaction'\n" + _given(zero="string"),
        ),
        forged,
    )


def _bounds() -> Iterator[Hostile]:
    """At each bound of the text, and one beyond."""
    harmless, refused = Fate.HARMLESS, Fate.REFUSED
    script = _zencode()
    full = script + "#" * (DEFAULTS.max_bytes - len(script))
    yield Hostile("bytes_at_the_bound", harmless, full, {})
    yield Hostile("bytes_beyond_the_bound", refused, full + "#", {}, rule="contract.bytes")
    wide = script + "#" + "é" * ((DEFAULTS.max_bytes - len(script)) // 2 + 1)
    yield Hostile("bytes_beyond_the_bound_in_fewer_characters", refused, wide, {}, rule="contract.bytes")
    yield Hostile("half_a_megabyte", refused, script + "#" * 500_000, {}, rule="contract.bytes")
    lines = [f"When I write string 'a' in 'a{number}'" for number in range(DEFAULTS.max_statements - 1)]
    yield Hostile("statements_at_the_bound", harmless, _zencode(*lines[:-1]), {}, heavy=True)
    yield Hostile("statements_beyond_the_bound", refused, _zencode(*lines), {}, rule="contract.statements")
    yield Hostile("thousands_of_comments", harmless, "#\n" * 6_000 + script, {})
    text = _zencode(given=_given(a="string"))
    beyond = "x" * (DEFAULTS.max_data_bytes - len('{"a": ""}') + 1)
    yield Hostile("data_beyond_the_bound", refused, text, {"a": beyond}, rule="contract.data")
    yield Hostile(
        "data_beyond_the_bound_as_it_is_escaped", refused, text, {"a": "é" * 17_000}, rule="contract.data"
    )
    yield Hostile(
        "data_and_keys_beyond_the_bound",
        refused,
        text,
        {"a": "x" * 50_000},
        keys={"b": "x" * 50_000},
        rule="contract.data",
    )
    yield Hostile("data_just_below_the_bound", harmless, text, {"a": "x" * (DEFAULTS.max_data_bytes - 300)})


def _counts() -> Iterator[Hostile]:
    """Numbers that count, written or named; the paths around the bound."""
    refused, rule = Fate.REFUSED, "contract.number"
    rounds = "When I create the key derivation of 'a' with '{}' rounds"
    wrote = "When I write string 'a' in 'a'"
    yield Hostile("rounds_at_the_bound", Fate.HARMLESS, _zencode(wrote, rounds.format(DEFAULTS.max_number)), {})
    over = DEFAULTS.max_number + 1
    yield Hostile("rounds_beyond_the_bound", refused, _zencode(wrote, rounds.format(over)), {}, rule=rule)
    yield Hostile(
        "two_thousand_million_rounds", refused, _zencode(wrote, rounds.format(2_000_000_000)), {}, rule=rule
    )
    yield Hostile(
        "ten_gigabytes_at_once",
        refused,
        _zencode("When I create the random object of '10000000000' bytes"),
        {},
        rule=rule,
    )
    yield Hostile(
        "million_random_objects",
        refused,
        _zencode("When I create the array of '1000000' random objects"),
        {},
        rule=rule,
    )
    for name, number in (
        ("exponent", "1e9"),
        ("hexadecimal", "0x7fffffff"),
        ("negative", "-1"),
        ("point", "10.5"),
        ("blank", "1 000 000"),
    ):
        script = _zencode(f"When I create the array of '{number}' random objects")
        yield Hostile(f"count_with_{name}", refused, script, {}, rule=rule)
    array = "When I create the array of 'n' random objects"
    counts: JsonObject = {
        "data": 1_000_000,
        "data_as_text": "1000000",
        "data_with_exponent": 1e9,
        "data_as_list": [1_000_000],
    }
    for name, value in counts.items():
        script = _zencode(array, given=_given(n="number"))
        yield Hostile(f"count_from_{name}", refused, script, {"n": value}, rule=rule)
    yield Hostile(
        "count_from_keys", refused, _zencode(array, given=_given(n="number")), {}, keys={"n": 1_000_000}, rule=rule
    )
    yield Hostile(
        "count_from_inside_data",
        refused,
        _zencode(array, given="Given I have a 'number' named 'n' in 'd'"),
        {"d": {"n": 10_000_000}},
        rule=rule,
    )
    yield Hostile("count_written", refused, _zencode("When I write number '1000000' in 'n'", array), {}, rule=rule)
    yield Hostile("count_set", refused, _zencode("When I set 'n' to '1000000' as 'number'", array), {}, rule=rule)
    product = ["When I create the result of 'm' * 'm'", "When I rename the 'result' to 'n'", array]
    yield Hostile(
        "count_computed", refused, _zencode(*product, given=_given(m="number")), {"m": 10_000}, rule=rule
    )
    yield Hostile(
        "count_renamed",
        refused,
        _zencode("When I rename 'm' to 'n'", array, given=_given(m="number")),
        {"m": 10_000_000},
        rule=rule,
    )
    yield Hostile(
        "count_copied",
        refused,
        _zencode("When I copy 'm' to 'n'", array, given=_given(m="number")),
        {"m": 10_000_000},
        rule=rule,
    )
    named = "Given I have a 'number' named by 'which'"
    yield Hostile(
        "count_named_by_data", refused, _zencode(array, given=named), {"which": "n", "n": 10_000_000}, rule=rule
    )
    sized = _zencode(
        "When I create the size of 'a'",
        "When I create the array of 'size' random objects of 'size' bytes",
        given=_given(a="string"),
    )
    yield Hostile("count_that_is_a_size", refused, sized, {"a": "x" * 50_000}, rule=rule)


def _debugging() -> Iterator[Hostile]:
    """Statements that print the engine's memory, in all their spellings."""
    for name, line in (
        ("and", "and debug"),
        ("given", "Given debug"),
        ("then_the", "Then the debug"),
        ("when_that", "When that debug"),
        ("when_i", "When I debug"),
        ("shouted", "WHEN DEBUG"),
        ("blanks", "  When   debug  "),
        ("trace", "When I trace"),
        ("schema", "Then schema"),
        ("config", "Then config"),
        ("codec", "Then codec"),
        ("backtrace", "When I backtrace"),
    ):
        yield Hostile(f"debug_{name}", Fate.REFUSED, _zencode(line), {}, rule="contract.debug")
