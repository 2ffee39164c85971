# SPDX-License-Identifier: AGPL-3.0-or-later
"""Readers of structure: what each member may be, in every dialect (transactions 1.1, 2 and 3)."""

from collections.abc import Callable
from typing import Any

import pytest

from planetmint.model.errors import SchemaValidationError
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Asset, Operation, Output, OutputRef
from planetmint.rules import schema
from planetmint.testing.build import all_of, output, public_key

PARAMETERS = ChainParameters(max_inputs=2, max_outputs=2)
ALICE, BOB = public_key("alice"), public_key("bob")
ID = "0123456789abcdef" * 4
FULFILLS = {"transaction_id": ID, "output_index": 0}
INPUT = {"owners_before": [ALICE], "fulfills": None, "fulfillment": "AA-_09az"}


def refused(read: Callable[[], object]) -> tuple[str, str | None]:
    """Rule and field of a refusal."""
    with pytest.raises(SchemaValidationError) as caught:
        read()
    return caught.value.rule, caught.value.field


def inputs(*items: Any, least: int = 1, most: int | None = None, spending: bool | None = None) -> Any:
    return schema.read_inputs(list(items), PARAMETERS, at_least=least, at_most=most, spending=spending)


# Inputs (2.2)


def test_an_input_is_read() -> None:
    (form,) = inputs(INPUT)
    assert form == schema.InputForm((ALICE,), None, "AA-_09az")
    (form,) = inputs({**INPUT, "fulfills": FULFILLS, "owners_before": []})
    assert form == schema.InputForm((), OutputRef(ID, 0), "AA-_09az")


@pytest.mark.parametrize("member", ["owners_before", "fulfills", "fulfillment"])
def test_all_members_of_an_input_are_required(member: str) -> None:
    item = {name: value for name, value in INPUT.items() if name != member}
    assert refused(lambda: inputs(item)) == ("schema.required", f"inputs[0].{member}")


@pytest.mark.parametrize("item", [None, 1, "x", [], True])
def test_an_input_is_an_object(item: Any) -> None:
    assert refused(lambda: inputs(INPUT, item)) == ("schema.type", "inputs[1]")


def test_an_input_has_no_other_members() -> None:
    assert refused(lambda: inputs({**INPUT, "more": 1})) == ("schema.additional", "inputs[0]")


@pytest.mark.parametrize("value", [None, {}, "x", 3])
def test_inputs_are_an_array(value: Any) -> None:
    read = lambda: schema.read_inputs(value, PARAMETERS, at_least=0, at_most=None, spending=None)
    assert refused(read) == ("schema.type", "inputs")


def test_the_number_of_inputs_is_bounded_by_operation_and_chain() -> None:
    assert refused(lambda: inputs()) == ("schema.length", "inputs")
    assert refused(lambda: inputs(INPUT, INPUT, INPUT)) == ("schema.length", "inputs")
    assert refused(lambda: inputs(INPUT, INPUT, most=1)) == ("schema.length", "inputs")
    assert len(inputs(INPUT, INPUT)) == 2


@pytest.mark.parametrize("owners", [None, ALICE, {}, 1])
def test_owners_before_is_an_array_and_never_null(owners: Any) -> None:
    assert refused(lambda: inputs({**INPUT, "owners_before": owners})) == (
        "schema.type",
        "inputs[0].owners_before",
    )


BAD_KEYS = [
    "",
    "1" * 43,
    "1" * 44,
    ALICE[:-2],
    ALICE + "1",
    ALICE + "\n",
    " " + ALICE,
    "0" + ALICE[1:],
    "l" * 44,
    "z" * 44,
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_is_43_or_44_base58_characters_for_32_bytes(key: str) -> None:
    bad = {**INPUT, "owners_before": [ALICE, key]}
    assert refused(lambda: inputs(bad)) == ("schema.public_key", "inputs[0].owners_before")


@pytest.mark.parametrize("key", [None, 1, [], {}])
def test_a_key_is_a_string(key: Any) -> None:
    bad = {**INPUT, "owners_before": [key]}
    assert refused(lambda: inputs(bad)) == ("schema.type", "inputs[0].owners_before")


def test_fulfills_follows_the_operation() -> None:
    spending, plain = {**INPUT, "fulfills": FULFILLS}, INPUT
    assert refused(lambda: inputs(plain, spending=True)) == ("schema.type", "inputs[0].fulfills")
    assert refused(lambda: inputs(spending, spending=False)) == ("schema.type", "inputs[0].fulfills")
    assert len(inputs(plain, spending, spending=None)) == 2


@pytest.mark.parametrize(
    ("fulfills", "rule", "member"),
    [
        (1, "type", ""),
        ([], "type", ""),
        ({}, "required", ".transaction_id"),
        ({"transaction_id": ID}, "required", ".output_index"),
        ({**FULFILLS, "more": 1}, "additional", ""),
        ({**FULFILLS, "transaction_id": None}, "type", ".transaction_id"),
        ({**FULFILLS, "transaction_id": ID[1:]}, "pattern", ".transaction_id"),
        ({**FULFILLS, "transaction_id": ID + "0"}, "pattern", ".transaction_id"),
        ({**FULFILLS, "transaction_id": ID.upper()}, "pattern", ".transaction_id"),
        ({**FULFILLS, "transaction_id": ID + "\n"}, "pattern", ".transaction_id"),
        ({**FULFILLS, "output_index": -1}, "minimum", ".output_index"),
        ({**FULFILLS, "output_index": 0.0}, "type", ".output_index"),
        ({**FULFILLS, "output_index": "0"}, "type", ".output_index"),
        ({**FULFILLS, "output_index": True}, "type", ".output_index"),
        ({**FULFILLS, "output_index": None}, "type", ".output_index"),
    ],
)
def test_a_reference_names_a_transaction_and_an_index(fulfills: Any, rule: str, member: str) -> None:
    found = refused(lambda: inputs({**INPUT, "fulfills": fulfills}))
    assert found == (f"schema.{rule}", f"inputs[0].fulfills{member}")


@pytest.mark.parametrize("text", ["", "A", "a-_Z9"])
def test_a_fulfillment_is_base64url_text_or_an_unsigned_draft(text: str) -> None:
    assert inputs({**INPUT, "fulfillment": text})[0].fulfillment == text
    assert inputs({**INPUT, "fulfillment": {"type": "ed25519-sha-256"}})[0].fulfillment is None


@pytest.mark.parametrize("text", ["=", "AA=", "A+A", "A/A", "A A", "A\n", "é"])
def test_other_characters_in_a_fulfillment_are_a_schema_violation(text: str) -> None:
    found = refused(lambda: inputs({**INPUT, "fulfillment": text}))
    assert found == ("schema.pattern", "inputs[0].fulfillment")


@pytest.mark.parametrize("value", [None, 1, [], True])
def test_a_fulfillment_is_never_null_or_of_another_type(value: Any) -> None:
    assert refused(lambda: inputs({**INPUT, "fulfillment": value})) == ("schema.type", "inputs[0].fulfillment")


# Outputs (2.3)


def outputs(*items: Any) -> list[Any]:
    return schema.read_outputs(list(items), PARAMETERS)


def test_an_output_is_read() -> None:
    wire = output("0007", all_of("alice", "bob"))
    (read,) = outputs(wire)
    assert isinstance(read, Output)
    assert (read.amount, read.public_keys, read.uri) == (7, (ALICE, BOB), wire["condition"]["uri"])


@pytest.mark.parametrize("keys", [None, []])
def test_public_keys_may_be_null_or_empty(keys: Any) -> None:
    assert outputs({**output(1, "alice"), "public_keys": keys})[0].public_keys == ()


@pytest.mark.parametrize("amount", ["0", "00", "1", "9" * 20, "00000000000000000001"])
def test_amounts_are_up_to_20_ascii_digits(amount: str) -> None:
    assert outputs(output(amount, "alice"))[0].amount == int(amount)


@pytest.mark.parametrize(
    "amount", ["", "-1", "+1", "1.0", " 1", "1 ", "1\n", "1e3", "0x1", "1_000", "9" * 21, "٣", "１"]
)
def test_other_texts_are_no_amounts(amount: str) -> None:
    assert refused(lambda: outputs(output(amount, "alice"))) == ("schema.pattern", "outputs[0].amount")


@pytest.mark.parametrize("amount", [1, 1.0, None, True, ["1"]])
def test_amounts_are_strings(amount: Any) -> None:
    wire = {**output(1, "alice"), "amount": amount}
    assert refused(lambda: outputs(wire)) == ("schema.type", "outputs[0].amount")


def test_the_number_of_outputs_is_bounded_by_the_chain_and_may_be_none() -> None:
    one = output(1, "alice")
    assert outputs() == []
    assert refused(lambda: outputs(one, one, one)) == ("schema.length", "outputs")


def test_outputs_and_conditions_have_exactly_their_members() -> None:
    wire = output(1, "alice")
    for member in wire:
        cut = {name: value for name, value in wire.items() if name != member}
        assert refused(lambda cut=cut: outputs(cut)) == ("schema.required", f"outputs[0].{member}")  # type: ignore[misc]
    for member in ("details", "uri"):
        cut = {name: value for name, value in wire["condition"].items() if name != member}
        found = refused(lambda cut=cut: outputs({**wire, "condition": cut}))  # type: ignore[misc]
        assert found == ("schema.required", f"outputs[0].condition.{member}")
    assert refused(lambda: outputs({**wire, "more": 1})) == ("schema.additional", "outputs[0]")
    more = {**wire, "condition": {**wire["condition"], "more": 1}}
    assert refused(lambda: outputs(more)) == ("schema.additional", "outputs[0].condition")


@pytest.mark.parametrize("change", ["", " ", "&", "&cost=1", "\n"])
def test_the_uri_is_the_derived_one_character_by_character(change: str) -> None:
    wire = output(1, "alice")
    wire["condition"]["uri"] += change
    if change:
        assert refused(lambda: outputs(wire)) == ("schema.uri", "outputs[0].condition.uri")
    else:
        assert len(outputs(wire)) == 1


# Assets (section 3)


def assets(version: str, operation: Operation, value: Any) -> tuple[Asset, ...]:
    member = "asset" if version == "2.0" else "assets"
    return schema.read_assets({member: value}, version, operation)


@pytest.mark.parametrize("data", [None, "", "QmCid", {}, {"a": [1, None]}])
def test_a_2_0_create_carries_an_object_a_string_or_null(data: Any) -> None:
    assert assets("2.0", Operation.CREATE, {"data": data}) == (Asset(None, data),)


@pytest.mark.parametrize("data", [1, 1.5, True, [], [{}]])
def test_a_2_0_create_carries_nothing_else(data: Any) -> None:
    assert refused(lambda: assets("2.0", Operation.CREATE, {"data": data})) == ("schema.type", "asset.data")


@pytest.mark.parametrize("value", [None, "x", [], [{"data": None}]])
def test_a_2_0_asset_is_an_object(value: Any) -> None:
    for operation in (Operation.CREATE, Operation.TRANSFER):
        assert refused(lambda operation=operation: assets("2.0", operation, value)) == ("schema.type", "asset")  # type: ignore[misc]


def test_a_2_0_asset_has_one_member() -> None:
    for operation, good in ((Operation.CREATE, {"data": None}), (Operation.TRANSFER, {"id": ID})):
        read = lambda value, operation=operation: assets("2.0", operation, value)
        assert len(read(good)) == 1
        assert refused(lambda read=read: read({}))[0] == "schema.required"  # type: ignore[misc]
        assert refused(lambda read=read, good=good: read({**good, "more": 1}))[0] == "schema.additional"  # type: ignore[misc]


def test_a_3_0_create_carries_null_or_one_item_of_data() -> None:
    assert assets("3.0", Operation.CREATE, None) == ()
    assert assets("3.0", Operation.CREATE, [{"data": None}]) == (Asset(None, None),)
    assert assets("3.0", Operation.CREATE, [{"data": ""}]) == (Asset(None, ""),)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ([], "length"),
        ([{"data": "a"}, {"data": "b"}], "length"),
        ([None], "type"),
        ({"data": "a"}, "type"),
        ("QmCid", "type"),
        ([{"data": {}}], "type"),
        ([{"data": 1}], "type"),
        ([{"id": ID}], "required"),
        ([{"data": "a", "id": ID}], "additional"),
    ],
)
def test_a_3_0_create_carries_nothing_else(value: Any, rule: str) -> None:
    assert refused(lambda: assets("3.0", Operation.CREATE, value))[0] == f"schema.{rule}"


@pytest.mark.parametrize("operation", [Operation.TRANSFER, Operation.COMPOSE, Operation.DECOMPOSE])
def test_other_3_0_operations_name_at_least_one_asset(operation: Operation) -> None:
    assert assets("3.0", operation, [{"id": ID}, {"id": "f" * 64}]) == (Asset(ID), Asset("f" * 64))
    for value, rule in ((None, "type"), ([], "length"), ([None], "type"), ([{"id": ID.upper()}], "pattern")):
        assert refused(lambda value=value: assets("3.0", operation, value))[0] == f"schema.{rule}"  # type: ignore[misc]


@pytest.mark.parametrize("operation", [Operation.COMPOSE, Operation.DECOMPOSE])
def test_compose_and_decompose_mix_ids_and_data(operation: Operation) -> None:
    assert assets("3.0", operation, [{"data": ""}, {"id": ID}]) == (Asset(None, ""), Asset(ID))
    for item in ({"data": None}, {"data": {}}, {"id": ID, "data": "a"}, {"more": 1}, {}):
        assert refused(lambda item=item: assets("3.0", operation, [item]))[0].startswith("schema.")  # type: ignore[misc]


def test_a_transfer_names_no_data() -> None:
    assert refused(lambda: assets("3.0", Operation.TRANSFER, [{"id": ID}, {"data": "a"}])) == (
        "schema.required",
        "assets[1].id",
    )


# Metadata and script (1.1 and 2.5)


def test_metadata_is_null_or_text_and_in_2_0_an_object_with_members() -> None:
    for value in (None, "", "text"):
        schema.check_metadata(value, "2.0")
        schema.check_metadata(value, "3.0")
    schema.check_metadata({"a": None}, "2.0")
    assert refused(lambda: schema.check_metadata({}, "2.0")) == ("schema.length", "metadata")
    assert refused(lambda: schema.check_metadata({"a": 1}, "3.0")) == ("schema.type", "metadata")
    for value in (1, True, [], ["a"]):
        for version in ("2.0", "3.0"):
            found = refused(lambda value=value, version=version: schema.check_metadata(value, version))  # type: ignore[misc]
            assert found == ("schema.type", "metadata")


SCRIPT_B: dict[str, Any] = {
    "code": {"type": "zenroom", "raw": "", "parameters": [{}]},
    "state": "a" * 64,
    "input": {},
    "output": [],
}
SCRIPT_C: dict[str, Any] = {"code": "", "state": "a" * 64, "inputs": {}, "outputs": {}}


@pytest.mark.parametrize(("version", "script"), [("2.0", SCRIPT_B), ("3.0", SCRIPT_C)])
def test_scripts_of_their_own_dialect_are_accepted(version: str, script: dict[str, Any]) -> None:
    schema.check_script(script, version)
    for policies in ({}, {"raw": {}}, {"txids": {"a": 1}, "more": 1}):
        schema.check_script({**script, "policies": policies}, version)
    other = "3.0" if version == "2.0" else "2.0"
    assert refused(lambda: schema.check_script(script, other))[0] == "schema.required"


def test_code_of_shape_b_may_refer_to_a_transaction() -> None:
    schema.check_script({**SCRIPT_B, "code": {"transaction_id": ID}}, "2.0")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"code": ""}, "type"),
        ({"code": {"transaction_id": ID, "raw": ""}}, "additional"),
        ({"code": {"transaction_id": "x"}}, "pattern"),
        ({"code": {"type": "zenroom", "raw": ""}}, "required"),
        ({"code": {"type": "other", "raw": "", "parameters": []}}, "enum"),
        ({"code": {"type": "zenroom", "raw": None, "parameters": []}}, "type"),
        ({"code": {"type": "zenroom", "raw": "", "parameters": ["x"]}}, "type"),
        ({"state": None}, "type"),
        ({"input": []}, "type"),
        ({"output": "x"}, "type"),
        ({"output": None}, "type"),
        ({"policies": None}, "type"),
        ({"policies": {"raw": ""}}, "type"),
        ({"policies": {"txids": []}}, "type"),
        ({"more": 1}, "additional"),
    ],
)
def test_other_scripts_of_shape_b_are_refused(change: dict[str, Any], rule: str) -> None:
    assert refused(lambda: schema.check_script({**SCRIPT_B, **change}, "2.0"))[0] == f"schema.{rule}"


@pytest.mark.parametrize("value", [None, "", [], 1])
def test_a_script_is_an_object(value: Any) -> None:
    for version in ("2.0", "3.0"):
        found = refused(lambda version=version: schema.check_script(value, version))  # type: ignore[misc]
        assert found == ("schema.type", "script")


@pytest.mark.parametrize(
    "value", ["x" * 10_000, 10**300, ["x" * 1_000] * 1_000, {str(n): n for n in range(10_000)}]
)
def test_offending_values_are_shown_short(value: Any) -> None:
    assert len(schema.show(value)) < 1_000
