# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whatever stands in a transaction, there is a verdict: accepted or `InvalidTransaction`, never another exception.

Source: design D6, validation 1 ("never answers 500 for anything a client sent").
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planetmint.chain import admit, execute_block
from planetmint.conditions import encode_fulfillment, fulfill
from planetmint.elections import end_block
from planetmint.model import json
from planetmint.model.condition import Fulfillment, ThresholdFulfillment, ZenroomFulfillment
from planetmint.model.election import ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters, ContractParameters, ZenroomMode
from planetmint.model.transaction import Operation, Transaction
from planetmint.model.validator import Validator
from planetmint.rules import check_signatures, decode_canonical, decode_transaction
from planetmint.state.overlay import Overlay
from planetmint.testing.build import (
    Builder,
    Contract,
    Dialect,
    all_of,
    details,
    identified,
    message,
    raw_key,
    seed,
    validator_set,
)
from planetmint.testing.ledger import EmptyLedger, check_with
from tests.support.contract_verdicts import content

PARAMETERS = ChainParameters()
A, B, C = (Builder(dialect) for dialect in Dialect)
GOLD = A.create("alice", [(3, "alice"), (4, all_of("alice", "bob"))], data={"a": [{"b": 1}]}, metadata={"m": "n"})
COPPER = C.create("carol", [(4, "carol")], data="QmCopper")
SPLIT = C.decompose(COPPER.spend(), ["QmLeft", "QmRight"])
SCRIPT_B = {
    "code": {"type": "zenroom", "raw": "Given", "parameters": [{"obj": 1}]},
    "state": "a" * 64,
    "input": {},
    "output": ["ok"],
    "policies": {"raw": {}, "txids": {}},
}
SUBJECTS = [
    GOLD.wire,
    A.transfer([GOLD.spend(1)], [(4, "bob")]).wire,
    B.draft_create("bob", data="QmSilver", metadata="text")
    .changed(lambda wire: wire.update(script=SCRIPT_B))
    .signed()
    .wire,
    COPPER.wire,
    C.compose([COPPER.spend()], [(1, "carol")], data="QmAlloy").wire,
    SPLIT.wire,
    C.create("carol", [(1, "carol")], data="QmLeft", consumes=SPLIT.spend(0)).wire,
]
POWERS = {"v0": 10, "v1": 20}
OPEN = B.validator_election(POWERS, "new", 9)
SUBJECTS += [
    A.validator_election(POWERS, "new", 9, by="v1", key_type="ed25519-base64").wire,
    C.validator_election(POWERS, "v1", 0).wire,
    C.migration_election(POWERS).wire,
    C.vote([OPEN.spend(1)], amount=20).wire,
]
RECORD = ElectionRecord(OPEN.id, Operation.VALIDATOR_ELECTION, 1, 30, change=Validator(raw_key("new"), 9))
SCENE = Overlay(EmptyLedger(validator_set(POWERS), {OPEN.id: RECORD}))
for built in (GOLD, COPPER, OPEN):
    admit(decode_transaction(built.canonical, PARAMETERS), SCENE, check_signatures)

Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all members and items."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def replaced(wire: Any, path: Path, value: Any) -> Any:
    changed = copy.deepcopy(wire)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return changed


PLACES = [(number, path) for number, subject in enumerate(SUBJECTS) for path in places(subject)]

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**307, -(10**307), 0.0, 1.0, -0.0, 1.5, 1e300, 5e-324),
    *(
        "",
        "0",
        "1",
        "-1",
        "1.0",
        " 1",
        "1\n",
        "٣",
        "null",
        "CREATE",
        "2.0",
        "3.0",
        "\x00",
        "a\x00b",
        "é",
        "\U0001f30d",
    ),
    *("a" * 64, "A" * 64, "a" * 65, "1" * 43, "1" * 44, "A" * 43, "AAAA", "o" * 10_000, "$x", "a.b", "language"),
    *([], [None], [[]], [{}], {}, {"": None}, {"$a": 1}, {"a.b": 1}, {"language": "klingon"}, {"language": []}),
    *({"id": "a" * 64}, {"data": None}, {"data": {}}, {"type": "ed25519-sha-256"}, {"type": []}, {"type": {}}),
    {"type": "threshold-sha-256", "threshold": 1, "subconditions": [{"type": "preimage-sha-256"}]},
    {"type": "threshold-sha-256", "threshold": True, "subconditions": [None]},
    {"transaction_id": "a" * 64, "output_index": 2**64},
    {"transaction_id": GOLD.id, "output_index": 10**300},
]


def verdict(wire: Any, parameters: ChainParameters = PARAMETERS) -> str | None:
    """The class of a refusal; None where it is accepted and a block can end with it. All else goes through."""
    raw = wire if isinstance(wire, bytes) else json.canonical(wire)
    try:
        accepted, _ = admit(decode_transaction(raw, parameters), Overlay(SCENE), check_with(content, parameters))
    except InvalidTransaction as refusal:
        assert refusal.rule
        return refusal.code
    end_block(SCENE, 2, [accepted])
    return None


@pytest.mark.parametrize("number", range(len(SUBJECTS)))
def test_any_odd_value_at_any_place_has_a_verdict(number: int) -> None:
    for path in places(SUBJECTS[number]):
        for value in ODD:
            changed = replaced(SUBJECTS[number], path, value)
            verdict(changed if path == ("id",) else identified(changed))


@pytest.mark.parametrize("number", range(len(SUBJECTS)))
def test_any_missing_member_has_a_verdict_and_is_refused(number: int) -> None:
    for path in places(SUBJECTS[number]):
        changed = copy.deepcopy(SUBJECTS[number])
        parent = changed
        for step in path[:-1]:
            parent = parent[step]
        if not isinstance(parent, dict) or path == ("id",):
            continue
        del parent[path[-1]]
        if path[0] in ("metadata", "asset") and len(path) > 2:
            continue  # the content of values is free, so that only the signature refuses it
        assert verdict(identified(changed)) is not None, path


# Contracts


def chain(mode: ZenroomMode) -> ChainParameters:
    return ChainParameters(contracts=ContractParameters(zenroom=mode, scripts="on", engine="tests 1"))


LOCK = Contract("Given nothing", {"a": 1}, {"b": 2})
GUARDED = A.create("alice", [(3, all_of("alice", LOCK))], data={"n": 1})
admit(decode_transaction(GUARDED.canonical, chain("bound")), SCENE, check_signatures)
CONTRACTS = [
    B.create("alice", [(3, all_of("alice", LOCK))]).wire,
    A.draft_transfer([GUARDED.spend()], [(3, all_of("bob", LOCK))]).scripted({"x": 1}, ["ok"]).signed().wire,
    C.draft_transfer([GUARDED.spend()], [(3, "bob")]).scripted({"x": 1}, {"y": [1.0]}, code="Given").signed().wire,
    C.draft_create(all_of("alice", LOCK)).scripted({}, ["ok"], policies={"raw": {}}).signed().wire,
]
CONTRACT_PLACES = [(number, path) for number, subject in enumerate(CONTRACTS) for path in places(subject)]


@pytest.mark.parametrize("number", range(len(CONTRACTS)))
def test_transactions_with_contracts_are_valid_before_they_are_changed(number: int) -> None:
    assert verdict(CONTRACTS[number], chain("bound")) is None


@pytest.mark.parametrize("number", range(len(CONTRACTS)))
def test_any_odd_value_at_any_place_of_a_transaction_with_contracts_has_a_verdict(number: int) -> None:
    for path in places(CONTRACTS[number]):
        for value in ODD:
            changed = replaced(CONTRACTS[number], path, value)
            verdict(changed if path == ("id",) else identified(changed), chain("bound"))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["bound", "published"]),
    st.binary(max_size=40),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"null", b"{}", b'{"transaction": 1}'])),
    st.one_of(st.binary(max_size=40), st.sampled_from([b"null", b"{}"])),
    st.booleans(),
)
def test_any_octets_in_a_contract_have_a_verdict(
    mode: ZenroomMode, script: bytes, data: bytes, keys: bytes, beside: bool
) -> None:
    draft = A.draft_create("alice").scripted({"x": 1}, ["ok"])
    given_parts: list[Fulfillment] = [ZenroomFulfillment(script, data, keys)]
    if beside:
        given_parts.append(fulfill(details("alice"), message(draft.wire, 0), [seed("alice")]))
    text = encode_fulfillment(ThresholdFulfillment(tuple(given_parts), ()))
    wire = draft.changed(lambda wire: wire["inputs"][0].update(fulfillment=text)).wire
    found = verdict(identified(wire), chain(mode))
    assert beside or mode == "published" or found == "InvalidSignature"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PLACES), values)
def test_random_values_at_random_places_have_a_verdict(place: tuple[int, Path], value: Any) -> None:
    number, path = place
    changed = replaced(SUBJECTS[number], path, value)
    try:
        verdict(identified(changed))
    except InvalidTransaction as refusal:  # the test cannot write it: a lone surrogate
        assert refusal.rule == "json.surrogate"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CONTRACT_PLACES), values, st.sampled_from(["bound", "published"]))
def test_random_values_at_random_places_of_a_transaction_with_contracts_have_a_verdict(
    place: tuple[int, Path], value: Any, mode: ZenroomMode
) -> None:
    number, path = place
    changed = replaced(CONTRACTS[number], path, value)
    try:
        verdict(identified(changed), chain(mode))
    except InvalidTransaction as refusal:  # the test cannot write it: a lone surrogate
        assert refusal.rule == "json.surrogate"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 1_000_000)
@example(b'{"a":' * 100_000)
@example(b'{"version":"3.0","operation":"CREATE"}')
@example(b'{"version":' + b"9" * 1_000_000 + b"}")
@example(b'"' + b"\\" * 1_000_001)
@example(b'{"\\ud800":1,"version":"3.0"}')
def test_any_bytes_have_a_verdict(raw: bytes) -> None:
    assert verdict(raw) is not None
    with pytest.raises(InvalidTransaction):
        decode_canonical(raw, PARAMETERS)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SUBJECTS) - 1), st.integers(0, 10_000), st.integers(0, 255))
def test_one_changed_byte_has_a_verdict(number: int, position: int, byte: int) -> None:
    raw = bytearray(json.canonical(SUBJECTS[number]))
    raw[position % len(raw)] = byte
    verdict(bytes(raw))


@pytest.mark.parametrize("depth", [300, 390, 396, 398, 399, 400, 401])
@pytest.mark.parametrize("shape", ["list", "object", "both"])
def test_deep_values_meet_the_bound_of_the_chain_before_any_of_the_interpreter(depth: int, shape: str) -> None:
    """The transaction itself takes 3 levels above `asset.data`'s value."""
    value: Any = 1
    for level in range(depth):
        as_list = shape == "list" or (shape == "both" and level % 2)
        value = [value] if as_list else {"a": value}
    wire = A.draft_create("alice", data={"deep": value}).signed().wire
    expected = "SchemaValidationError" if depth + 3 > PARAMETERS.max_json_depth else None
    assert verdict(json.canonical(wire)) == expected


@pytest.mark.parametrize("frames", [0, 200, 400])
def test_deep_values_have_the_same_verdict_far_down_in_the_stack(frames: int) -> None:
    value: Any = 1
    for _ in range(396):
        value = {"a": value}
    raw = json.canonical(A.draft_create("alice", data={"deep": value}).signed().wire)

    def down(left: int) -> str | None:
        return verdict(raw) if left == 0 else down(left - 1)

    assert down(frames) is None


def test_a_block_of_nonsense_is_a_block_of_verdicts() -> None:
    candidates: list[Transaction | InvalidTransaction] = []
    for raw in (b"", b"{}", json.canonical(SUBJECTS[1]), json.canonical(SUBJECTS[5]), GOLD.canonical):
        try:
            candidates.append(decode_transaction(raw, PARAMETERS))
        except InvalidTransaction as refusal:
            candidates.append(refusal)
    result = execute_block(EmptyLedger(), 1, candidates, "ab" * 32, check_signatures)
    codes = [None if item is None else item.code for item in result.verdicts]
    assert codes == ["SchemaValidationError"] * 2 + ["InputDoesNotExist"] * 2 + [None]
