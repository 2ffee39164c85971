# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bytes become a transaction: ids and messages of the worked example, dialects side by side, bounds."""

import json as plain_json
from hashlib import sha3_256
from typing import Any

import pytest

from planetmint.model import json
from planetmint.model.errors import (
    InvalidHash,
    InvalidScript,
    InvalidSignature,
    InvalidTransaction,
    SchemaValidationError,
    TransactionTooLarge,
)
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Asset, Operation, OutputRef, Transaction
from planetmint.rules import check_signatures, decode_canonical, decode_transaction
from planetmint.testing.build import Builder, Dialect, Wire, identified, public_key

PARAMETERS = ChainParameters()
A, B, C = (Builder(dialect) for dialect in Dialect)

# The worked example of transactions 4.4, as it stands there.
KEY = "CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMgr"
FULFILLMENT = (
    "pGSAIKbBwPVgH2EWnNf73rGmEbRXzMYiTIXI6YgJ0vu4APG3gUCnbveKKOj6MQ613IyZaTZBS5Ca50KyCQnse8R0VnJkZS-2qqGswDGNmpQ1-mT"
    "KeBjUKqPHSvuaTOg3DpqdKsAC"
)
MESSAGE = "eea5ff5bdf4ecbd0f1d736a835f2af8cf90e4cd4528b34643bfdb712b8edba8b"
ID = "7c130673ae038e98e9d2b5682349486d1df72c5ec35c15bf230223bcc8f409b0"
TRANSFER_MESSAGE = "4d094df9e27492fd1c7074091f63e8ebc9edbf5af030479ce32a9626c36cf9ef"
CREATE: Wire = {
    "asset": {"data": {"n": 1}},
    "id": ID,
    "inputs": [{"fulfillment": FULFILLMENT, "fulfills": None, "owners_before": [KEY]}],
    "metadata": None,
    "operation": "CREATE",
    "outputs": [
        {
            "amount": "1",
            "condition": {
                "details": {"public_key": KEY, "type": "ed25519-sha-256"},
                "uri": "ni:///sha-256;jxGUiqDZo94TpURSsHD1l6zXute2BhL9AnrwmFXSB2s?fpt=ed25519-sha-256&cost=131072",
            },
            "public_keys": [KEY],
        }
    ],
    "version": "2.0",
}
RECIPIENT = "GUkuscVFq5ZpFYbrwRDSQJ5YsKPdZ4qLRmnbXmrSQZdC"
TRANSFER: Wire = {
    "asset": {"id": ID},
    "id": None,
    "inputs": [
        {
            "fulfillment": FULFILLMENT,
            "fulfills": {"output_index": 0, "transaction_id": ID},
            "owners_before": [KEY],
        }
    ],
    "metadata": None,
    "operation": "TRANSFER",
    "outputs": [
        {
            "amount": "1",
            "condition": {
                "details": {"public_key": RECIPIENT, "type": "ed25519-sha-256"},
                "uri": "ni:///sha-256;cKCbB7FLtTrZGIzsFpvuWPHda1w6qeTd2btz5jMfMHo?fpt=ed25519-sha-256&cost=131072",
            },
            "public_keys": [RECIPIENT],
        }
    ],
    "version": "2.0",
}


def decode(wire: Any, parameters: ChainParameters = PARAMETERS) -> Transaction:
    return decode_transaction(wire if isinstance(wire, bytes) else json.canonical(wire), parameters)


def refusal(wire: Any, parameters: ChainParameters = PARAMETERS) -> InvalidTransaction:
    with pytest.raises(InvalidTransaction) as caught:
        decode(wire, parameters)
    return caught.value


def test_transactions_4_4_the_worked_create_is_read() -> None:
    transaction = decode(CREATE)
    assert (transaction.id, transaction.version, transaction.operation) == (ID, "2.0", Operation.CREATE)
    assert transaction.assets == (Asset(None, {"n": 1}),)
    assert transaction.inputs[0].owners_before == (KEY,)
    assert transaction.inputs[0].fulfills is None
    assert transaction.inputs[0].message.hex() == MESSAGE
    check_signatures(transaction)


def test_transactions_4_4_the_worked_transfer_has_its_message() -> None:
    wire = {**TRANSFER, "id": sha3_256(json.canonical(TRANSFER)).hexdigest()}
    transaction = decode(wire)
    assert transaction.inputs[0].fulfills == OutputRef(ID, 0)
    assert transaction.inputs[0].message.hex() == TRANSFER_MESSAGE
    with pytest.raises(InvalidSignature):
        check_signatures(transaction)


def test_the_spelling_of_the_text_is_no_matter_and_the_canonical_form_is_kept() -> None:
    spaced = plain_json.dumps(CREATE, indent=3).encode()
    reversed_keys = plain_json.dumps(dict(reversed(CREATE.items()))).encode()
    escaped = json.canonical(CREATE).replace(b"CREATE", b"\\u0043REATE")
    for text in (spaced, reversed_keys, escaped):
        transaction = decode(text)
        assert transaction.id == ID
        assert transaction.canonical == plain_json.dumps(CREATE, sort_keys=True, separators=(",", ":")).encode()
        with pytest.raises(SchemaValidationError) as caught:
            decode_canonical(text, PARAMETERS)
        assert caught.value.rule == "canonical"
    assert decode_canonical(transaction.canonical, PARAMETERS) == transaction


def test_of_duplicate_keys_the_last_one_counts() -> None:
    text = json.canonical(CREATE).replace(b'"metadata":null', b'"metadata":"first","metadata":null')
    assert decode(text).id == ID


def test_messages_of_other_inputs_hold_their_own_reference_only() -> None:
    one, two = A.create("alice", [(1, "alice"), (2, "alice")]), "f" * 64
    spends = [one.spend(0), one.spend(1)]
    transaction = decode(A.transfer(spends, [(3, "bob")], metadata={"a": two}).wire)
    unsigned = {
        **transaction_wire(transaction),
        "id": None,
        "inputs": [{**item, "fulfillment": None} for item in transaction_wire(transaction)["inputs"]],
    }
    text = plain_json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()
    messages = [sha3_256(text + f"{one.id}{index}".encode()).digest() for index in (0, 1)]
    assert [item.message for item in transaction.inputs] == messages


def transaction_wire(transaction: Transaction) -> Wire:
    wire: Wire = plain_json.loads(transaction.canonical)
    return wire


# Ids (4.2)


@pytest.mark.parametrize(
    "claimed", [None, "", "x", ID[:-1], ID + "0", ID.upper(), f" {ID}", "0" * 64, 1, 1.5, True, [], {}]
)
def test_validation_3_1_any_other_id_is_an_invalid_hash(claimed: Any) -> None:
    error = refusal({**CREATE, "id": claimed})
    assert (type(error), error.field) == (InvalidHash, "id")
    assert error.reason.startswith("The transaction's id '")
    assert error.reason.endswith("' isn't equal to the hash of its body, i.e. it's not valid.")


def test_validation_3_1_a_missing_id_is_an_invalid_hash() -> None:
    error = refusal({name: value for name, value in CREATE.items() if name != "id"})
    assert (type(error), error.reason) == (InvalidHash, "No transaction id found!")


@pytest.mark.parametrize(
    "change", [{"metadata": "1"}, {"asset": {"data": {"n": 1.0}}}, {"asset": {"data": {"n": True}}}]
)
def test_section_6_values_that_compare_equal_elsewhere_have_ids_of_their_own(change: Wire) -> None:
    assert type(refusal({**CREATE, **change})) is InvalidHash


# Kinds (1.1)


@pytest.mark.parametrize("version", ["1.0", "0.9", "2", "2.0 ", "3.1", "", 2.0, 3, None, ["2.0"], {}])
def test_other_versions_are_a_schema_violation(version: Any) -> None:
    error = refusal(identified({**CREATE, "version": version}))
    assert (type(error), error.rule, error.field) == (SchemaValidationError, "schema.enum", "version")


@pytest.mark.parametrize(
    "operation",
    [
        "create",
        "CREATE ",
        "",
        "vote",
        "ELECTION",
        "BALLOT",
        "COMPOSE",
        None,
        1,
        ["CREATE"],
    ],
)
def test_operations_unknown_to_a_version_are_a_schema_violation(operation: Any) -> None:
    error = refusal(identified({**CREATE, "operation": operation}))
    assert (type(error), error.rule, error.field) == (SchemaValidationError, "schema.enum", "operation")


@pytest.mark.parametrize("text", [b"", b"null", b"1", b'"x"', b"[]", b"true", b"{", b"{}x", b"\xff{}", b"NaN"])
def test_what_is_no_object_is_a_schema_violation(text: bytes) -> None:
    assert type(refusal(text)) is SchemaValidationError


@pytest.mark.parametrize("data", [None, "", "QmCid", {}, {"a": {"b": ["c"]}}])
@pytest.mark.parametrize("metadata", [None, "", "text", {"a": None}])
def test_section_1_1_version_2_0_takes_both_dialects_member_by_member(data: Any, metadata: Any) -> None:
    draft = A.draft_create("alice").changed(lambda w: w.update(asset={"data": data}, metadata=metadata))
    assert decode(draft.signed().wire).metadata == metadata


SCRIPT_B = {"code": {"transaction_id": "a" * 64}, "state": "b" * 64, "input": {}, "output": {}}
SCRIPT_C = {"code": "", "state": "b" * 64, "inputs": {}, "outputs": {}}


def test_section_1_1_a_script_of_shape_b_is_carried_and_signed() -> None:
    transaction = decode(B.draft_create("alice").changed(lambda wire: wire.update(script=SCRIPT_B)).signed().wire)
    assert transaction.script == SCRIPT_B
    check_signatures(transaction)


def test_section_6_a_script_in_3_0_is_refused_while_scripts_are_off() -> None:
    error = refusal(C.draft_create("alice").changed(lambda wire: wire.update(script=SCRIPT_C)).signed().wire)
    assert (type(error), error.rule, error.field) == (InvalidScript, "script.off", "script")


def test_section_2_1_a_null_script_is_a_schema_violation() -> None:
    for build in (B, C):
        error = refusal(build.draft_create("alice").changed(lambda wire: wire.update(script=None)).signed().wire)
        assert (type(error), error.field) == (SchemaValidationError, "script")


def test_section_5_4_contracts_in_conditions_are_refused_while_they_are_off() -> None:
    leaf = {"type": "zenroom-sha-256", "public_key": public_key("alice")}
    key = {"type": "ed25519-sha-256", "public_key": public_key("alice")}
    both = {"type": "threshold-sha-256", "threshold": 2, "subconditions": [key, leaf]}
    uris = {
        "zenroom-sha-256": f"ni:///sha-256;{'a' * 43}?fpt=zenroom-sha-256&cost=131072",
        "threshold-sha-256": f"ni:///sha-256;{'a' * 43}?fpt=threshold-sha-256&cost=264192"
        "&subtypes=ed25519-sha-256,zenroom-sha-256",
    }
    for build in (A, B, C):
        for details in (leaf, both):
            condition = {"details": details, "uri": uris[str(details["type"])]}
            draft = build.draft_create("alice")
            error = refusal(
                draft.changed(lambda w, c=condition: w["outputs"][0].update(condition=c)).signed().wire
            )  # type: ignore[misc]
            assert (type(error), error.rule) == (InvalidSignature, "contracts.off")


# Bounds (consensus-and-storage 8)


def test_the_canonical_form_is_what_the_bound_on_bytes_counts() -> None:
    built = A.create("alice", data={"pad": "é" * 500})
    size = len(built.canonical)
    assert decode(built.wire, ChainParameters(max_transaction_bytes=size)).id == built.id
    escaped = plain_json.dumps(built.wire).encode()
    assert len(escaped) > size
    assert decode(escaped, ChainParameters(max_transaction_bytes=size)).id == built.id
    error = refusal(built.wire, ChainParameters(max_transaction_bytes=size - 1))
    assert (type(error), error.rule) == (TransactionTooLarge, "size")


@pytest.mark.parametrize(("count", "verdict"), [(2, None), (3, SchemaValidationError)])
def test_inputs_and_outputs_are_bounded(count: int, verdict: type[InvalidTransaction] | None) -> None:
    parameters = ChainParameters(max_inputs=2, max_outputs=2)
    source = A.create("alice", [(1, "alice")] * count)
    spending = A.transfer([source.spend(index) for index in range(count)], [(count, "bob")])
    for built in (source, spending):
        if verdict is None:
            assert decode(built.wire, parameters).id == built.id
        else:
            assert type(refusal(built.wire, parameters)) is verdict


@pytest.mark.parametrize("number", [2**64, -(2**64), 10**307, -(10**307)])
def test_section_2_4_integers_of_any_size_are_carried(number: int) -> None:
    transaction = decode(A.create("alice", data={"n": number}).wire)
    assert transaction.assets == (Asset(None, {"n": number}),)
    assert str(number).encode() in transaction.canonical


@pytest.mark.parametrize(
    "literal", ["NaN", "Infinity", "-Infinity", "1e400", "9.9e308", "1" * 309, "0." + "1" * 308]
)
def test_section_4_1_numbers_that_json_cannot_carry_are_a_schema_violation(literal: str) -> None:
    text = json.canonical(CREATE).replace(b'{"n":1}', b'{"n":' + literal.encode() + b"}")
    assert type(refusal(text)) is SchemaValidationError


def test_section_4_1_lone_surrogates_are_a_schema_violation_anywhere() -> None:
    for old, new in (
        (b'{"n":1}', b'{"n":"\\ud800"}'),
        (b'{"n":1}', b'{"\\udfff":1}'),
        (b'"CREATE"', b'"\\ud800"'),
    ):
        assert type(refusal(json.canonical(CREATE).replace(old, new))) is SchemaValidationError
