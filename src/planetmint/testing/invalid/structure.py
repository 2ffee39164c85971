# SPDX-License-Identifier: AGPL-3.0-or-later
"""Members, types, patterns, amounts, names in data and scripts: what is wrong with a transaction in itself.

Wherever it is possible the change is made before signing, so that a check that is missing would let it pass.
Sources: transactions 2 and 3, validation 3.
"""

from typing import Any

from planetmint.model.errors import AmountError, InvalidScript, InvalidSignature, ValidationError
from planetmint.model.parameters import ChainParameters
from planetmint.testing.build import Built, Dialect, Wire, public_key
from planetmint.testing.invalid.case import (
    ALL,
    OBJECTS,
    VERSION_2,
    VERSION_3,
    Change,
    Group,
    Scene,
    create_then,
    create_with,
    drop,
    put,
    transfer_then,
    transfer_with,
)

_BOUNDS = ChainParameters()
_TYPE, _REQUIRED, _ADDITIONAL = "schema.type", "schema.required", "schema.additional"
_LENGTH, _PATTERN, _ENUM, _KEY = "schema.length", "schema.pattern", "schema.enum", "schema.public_key"

TOP = Group("transaction")
INPUTS = Group("input")
OUTPUTS = Group("output")
ASSETS = Group("asset")
NAMES = Group("data")
SCRIPTS = Group("script")

BAD_KEYS = {
    "empty": "",
    "of 42 characters": "1" * 10 + "z" * 32,
    "of 45 characters": "z" * 45,
    "of 33 bytes": "z" * 44,
    "with a zero": "0" * 44,
    "of spaces": " " * 44,
    "with a line end": "CDx31U9UUfFVEV1kKqhpaJcHFro5n7VRTAYCvi9quMg\n",
}

_value: Any  # What the loops below put in; mypy wants to know it before the first of them.

# The whole


def _drop_asset(wire: Wire) -> None:
    del wire["assets" if wire["version"] == "3.0" else "asset"]


for _what in ("version", "operation", "outputs", "metadata"):
    TOP.schema(f"{_what} missing", _REQUIRED, create_with(drop(_what)))
TOP.schema("asset missing", _REQUIRED, create_with(_drop_asset))
TOP.schema("inputs missing", _REQUIRED, create_then(drop("inputs")))
TOP.schema("unknown member", _ADDITIONAL, create_with(put("extra", to=1)))
TOP.schema("unknown member null", _ADDITIONAL, create_with(put("", to=None)))
for _value in ("1.0", "0.9", "2", "2.00", "3.1", "", 2.0, 3, None, True, ["2.0"], {}):
    TOP.schema(f"version {_value!r}", _ENUM, create_with(put("version", to=_value)))
for _value in ("create", "", "GENESIS", " CREATE", "CREATE\n", None, 1, True, ["CREATE"], {}):
    TOP.schema(f"operation {_value!r}", _ENUM, create_with(put("operation", to=_value)))
for _value in ("COMPOSE", "DECOMPOSE"):
    TOP.schema(f"operation {_value} in version 2.0", _ENUM, create_with(put("operation", to=_value)), VERSION_2)
for _value in (5, 1.5, True, [], [1]):
    TOP.schema(f"metadata {_value!r}", _TYPE, create_with(put("metadata", to=_value)))
TOP.schema("metadata an empty object", _LENGTH, create_with(put("metadata", to={})), VERSION_2)
TOP.schema("metadata an object in 3.0", _TYPE, create_with(put("metadata", to={"a": 1})), VERSION_3)

# Inputs


for _value in (None, {}, "x", 5):
    INPUTS.schema(f"all {_value!r}", _TYPE, create_then(put("inputs", to=_value)))
    INPUTS.schema(f"one {_value!r}", _TYPE, create_then(put("inputs", 0, to=[] if _value == {} else _value)))
INPUTS.schema("none", _LENGTH, create_then(put("inputs", to=[])))
INPUTS.schema("none on TRANSFER", _LENGTH, transfer_then(put("inputs", to=[])))
INPUTS.schema("two on CREATE", _LENGTH, create_then(lambda wire: wire["inputs"].append(wire["inputs"][0])))
INPUTS.schema(
    "more than the chain allows",
    _LENGTH,
    transfer_then(lambda wire: wire.update(inputs=wire["inputs"] * (_BOUNDS.max_inputs + 1))),
)
for _what in ("owners_before", "fulfills", "fulfillment"):
    INPUTS.schema(f"{_what} missing", _REQUIRED, create_then(drop("inputs", 0, _what)))
INPUTS.schema("unknown member", _ADDITIONAL, create_with(put("inputs", 0, "extra", to=1)))
for _value in (None, "x", {}, 5):
    INPUTS.schema(f"owners_before {_value!r}", _TYPE, create_with(put("inputs", 0, "owners_before", to=_value)))
    INPUTS.schema(
        f"owners_before {_value!r} on TRANSFER",
        _TYPE,
        transfer_with(put("inputs", 0, "owners_before", to=_value)),
    )
for _value in (None, 5, []):
    INPUTS.schema(f"owner {_value!r}", _TYPE, create_with(put("inputs", 0, "owners_before", to=[_value])))
for _what, _value in BAD_KEYS.items():
    INPUTS.schema(f"owner's key {_what}", _KEY, create_with(put("inputs", 0, "owners_before", to=[_value])))
INPUTS.add(
    "no owner on CREATE",
    InvalidSignature,
    "signature.owners",
    ALL,
    create_with(put("inputs", 0, "owners_before", to=[])),
)
for _value in ("x", [], 5, True):
    INPUTS.schema(f"fulfills {_value!r}", _TYPE, create_then(put("inputs", 0, "fulfills", to=_value)))
INPUTS.schema("fulfills null on TRANSFER", _TYPE, transfer_with(put("inputs", 0, "fulfills", to=None)))
INPUTS.schema(
    "fulfills an output on CREATE 2.0",
    _TYPE,
    create_with(put("inputs", 0, "fulfills", to={"transaction_id": "0" * 64, "output_index": 0})),
    VERSION_2,
)


def _fulfills(name: str, to: Any) -> Change:
    return put("inputs", 0, "fulfills", name, to=to)


for _what in ("transaction_id", "output_index"):
    INPUTS.schema(f"{_what} missing", _REQUIRED, transfer_then(drop("inputs", 0, "fulfills", _what)))
INPUTS.schema("unknown member in fulfills", _ADDITIONAL, transfer_with(_fulfills("extra", 1)))
for _value in (None, 5, {}):
    INPUTS.schema(f"transaction_id {_value!r}", _TYPE, transfer_with(_fulfills("transaction_id", _value)))
for _value in ("", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 63 + "\n", "a" * 64 + "\n"):
    INPUTS.schema(f"transaction_id {_value!r}", _PATTERN, transfer_with(_fulfills("transaction_id", _value)))
for _value in (None, "0", 0.0, True, False, [0], {}):
    INPUTS.schema(f"output_index {_value!r}", _TYPE, transfer_with(_fulfills("output_index", _value)))
INPUTS.schema("output_index -1", "schema.minimum", transfer_with(_fulfills("output_index", -1)))
for _value in (None, 5, [], True):
    INPUTS.schema(f"fulfillment {_value!r}", _TYPE, create_then(put("inputs", 0, "fulfillment", to=_value)))
for _value in ("=", "pGSA=", "pG+A", "pG/A", " ", "pGSA\n", "é"):
    INPUTS.schema(f"fulfillment {_value!r}", _PATTERN, create_then(put("inputs", 0, "fulfillment", to=_value)))

# Outputs


def _output(*path: str | int, to: Any) -> Change:
    return put("outputs", 0, *path, to=to)


for _value in (None, {}, "x", 5):
    OUTPUTS.schema(f"all {_value!r}", _TYPE, create_with(put("outputs", to=_value)))
    OUTPUTS.schema(f"one {_value!r}", _TYPE, create_with(put("outputs", 0, to=[] if _value == {} else _value)))
OUTPUTS.schema(
    "more than the chain allows",
    _LENGTH,
    create_with(lambda wire: wire.update(outputs=wire["outputs"] * (_BOUNDS.max_outputs + 1))),
)
for _what in ("amount", "condition", "public_keys"):
    OUTPUTS.schema(f"{_what} missing", _REQUIRED, create_with(drop("outputs", 0, _what)))
for _what in ("details", "uri"):
    OUTPUTS.schema(f"{_what} missing", _REQUIRED, create_with(drop("outputs", 0, "condition", _what)))
OUTPUTS.schema("unknown member", _ADDITIONAL, create_with(_output("extra", to=1)))
OUTPUTS.schema("unknown member in condition", _ADDITIONAL, create_with(_output("condition", "extra", to=1)))
for _value in (1, 1.0, None, True, ["1"], {}):
    OUTPUTS.schema(f"amount {_value!r}", _TYPE, create_with(_output("amount", to=_value)))
for _value in ("", "-1", "+1", " 1", "1 ", "1\n", "1.0", "1e3", "0x1", "1_0", "١", "１", "9" * 21):
    OUTPUTS.schema(f"amount {_value!r}", _PATTERN, create_with(_output("amount", to=_value)))
for _value in ("0", "00", "0" * 20):
    OUTPUTS.add(
        f"amount {_value!r}", AmountError, "amount.minimum", ALL, create_with(_output("amount", to=_value))
    )
for _value in ("9000000000000000001", "9" * 19, "9" * 20):
    OUTPUTS.add(
        f"amount {_value!r}", AmountError, "amount.maximum", ALL, create_with(_output("amount", to=_value))
    )
for _value in ("x", {}, 5, True):
    OUTPUTS.schema(f"public_keys {_value!r}", _TYPE, create_with(_output("public_keys", to=_value)))
for _value in (None, 5, []):
    OUTPUTS.schema(f"public key {_value!r}", _TYPE, create_with(_output("public_keys", to=[_value])))
for _what, _value in BAD_KEYS.items():
    OUTPUTS.schema(f"public key {_what}", _KEY, create_with(_output("public_keys", to=[_value])))
for _value in (None, [], "x", 5):
    OUTPUTS.schema(f"condition {_value!r}", _TYPE, create_with(_output("condition", to=_value)))
for _value in (None, [], 5):
    OUTPUTS.schema(f"uri {_value!r}", _TYPE, create_with(_output("condition", "uri", to=_value)))


@OUTPUTS.case("listed key that cannot spend it", ValidationError, "output.public_keys")
def _foreign_listed(scene: Scene) -> Built:
    keys = [public_key(scene.alice), public_key(scene.bob)]
    return scene.build.draft_create(scene.alice).changed(_output("public_keys", to=keys)).signed()


@OUTPUTS.case("payee who is shown an output of the sender", ValidationError, "output.public_keys")
def _false_payee(scene: Scene) -> Built:
    draft = scene.build.draft_transfer([scene.asset().spend()], [(10, scene.alice)])
    return draft.changed(_output("public_keys", to=[public_key(scene.bob)])).signed()


# Assets


def _asset(to: Any) -> Change:
    return lambda wire: wire.update({"assets" if wire["version"] == "3.0" else "asset": to})


_CID = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
_HEX = "a" * 64
for _value in (None, [], "x", 5):
    ASSETS.schema(f"{_value!r} in 2.0", _TYPE, create_with(_asset(_value)), VERSION_2)
    ASSETS.schema(f"{_value!r} on TRANSFER 2.0", _TYPE, transfer_with(_asset(_value)), VERSION_2)
ASSETS.schema("without data", _REQUIRED, create_with(_asset({})), VERSION_2)
ASSETS.schema("id on CREATE 2.0", _REQUIRED, create_with(_asset({"id": _HEX})), VERSION_2)
ASSETS.schema("data and id on CREATE 2.0", _ADDITIONAL, create_with(_asset({"data": None, "id": _HEX})), VERSION_2)
for _value in (5, 1.5, True, [], [{}]):
    ASSETS.schema(f"data {_value!r} in 2.0", _TYPE, create_with(_asset({"data": _value})), VERSION_2)
ASSETS.schema("data on TRANSFER 2.0", _REQUIRED, transfer_with(_asset({"data": None})), VERSION_2)
ASSETS.schema(
    "id and data on TRANSFER 2.0", _ADDITIONAL, transfer_with(_asset({"id": _HEX, "data": 1})), VERSION_2
)

for _value in ({}, {"data": None}, "x", 5):
    ASSETS.schema(f"{_value!r} in 3.0", _TYPE, create_with(_asset(_value)), VERSION_3)
for _value in (None, {}, "x", 5):
    ASSETS.schema(f"{_value!r} on TRANSFER 3.0", _TYPE, transfer_with(_asset(_value)), VERSION_3)
ASSETS.schema("none in 3.0", _LENGTH, create_with(_asset([])), VERSION_3)
ASSETS.schema("none on TRANSFER 3.0", _LENGTH, transfer_with(_asset([])), VERSION_3)
ASSETS.schema("two on CREATE 3.0", _LENGTH, create_with(_asset([{"data": _CID}] * 2)), VERSION_3)
for _value in (None, [], "x"):
    ASSETS.schema(f"item {_value!r} in 3.0", _TYPE, create_with(_asset([_value])), VERSION_3)
    ASSETS.schema(f"item {_value!r} on TRANSFER 3.0", _TYPE, transfer_with(_asset([_value])), VERSION_3)
ASSETS.schema("item without data in 3.0", _REQUIRED, create_with(_asset([{}])), VERSION_3)
ASSETS.schema("id on CREATE 3.0", _REQUIRED, create_with(_asset([{"id": _HEX}])), VERSION_3)
ASSETS.schema("data and id on CREATE 3.0", _ADDITIONAL, create_with(_asset([{"data": "", "id": _HEX}])), VERSION_3)
for _value in (5, {}, {"a": 1}, [], True):
    ASSETS.schema(f"data {_value!r} in 3.0", _TYPE, create_with(_asset([{"data": _value}])), VERSION_3)
ASSETS.schema("data on TRANSFER 3.0", _REQUIRED, transfer_with(_asset([{"data": _CID}])), VERSION_3)


def _named(to: Any) -> Change:
    return lambda wire: (
        wire.update(assets=[{"id": to}]) if wire["version"] == "3.0" else wire.update(asset={"id": to})
    )


for _value in (None, 5, []):
    ASSETS.schema(f"id {_value!r}", _TYPE, transfer_with(_named(_value)))
for _value in ("", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"):
    ASSETS.schema(f"id {_value!r}", _PATTERN, transfer_with(_named(_value)))
ASSETS.schema(
    "second id malformed on TRANSFER 3.0",
    _PATTERN,
    transfer_with(lambda wire: wire["assets"].append({"id": "x"})),
    VERSION_3,
)

# Names and languages in object values

_BAD_NAMES: tuple[Any, ...] = (
    {"$a": 1},
    {"$": 1},
    {"a.b": 1},
    {".": 1},
    {"a\x00b": 1},
    {"a": {"b.c": 1}},
    {"a": [1, [{"$b": 1}]]},
)
_BAD_LANGUAGES: tuple[Any, ...] = (
    {"language": "klingon"},
    {"language": "English"},
    {"language": ""},
    {"language": None},
    {"language": 5},
    {"language": {"language": "en"}},
    {"language": ["en"]},
    {"a": [{"language": "xx"}]},
)
for _rule, _values in (("data.key", _BAD_NAMES), ("data.language", _BAD_LANGUAGES)):
    for _value in _values:
        _in_data = create_with(_asset({"data": _value}))
        NAMES.add(f"asset data {_value!r}", ValidationError, _rule, OBJECTS, _in_data)
        _in_metadata = create_with(put("metadata", to=_value))
        NAMES.add(f"metadata {_value!r}", ValidationError, _rule, OBJECTS, _in_metadata)
        _on_transfer = transfer_with(put("metadata", to=_value))
        NAMES.add(f"metadata {_value!r} on TRANSFER", ValidationError, _rule, OBJECTS, _on_transfer)

# Scripts

_SHAPE_2: Wire = {
    "code": {"type": "zenroom", "raw": "", "parameters": []},
    "state": "0" * 64,
    "input": {},
    "output": {},
}
_SHAPE_3: Wire = {"code": "", "state": "0" * 64, "inputs": {}, "outputs": []}


def _script(dialect: Dialect, change: Change) -> Change:
    def apply(wire: Wire) -> None:
        script = dict(_SHAPE_3 if dialect in VERSION_3 else _SHAPE_2)
        change(script)
        wire["script"] = script

    return apply


for _value in (None, [], "x", 5):
    SCRIPTS.schema(f"{_value!r}", _TYPE, create_with(put("script", to=_value)))
for _dialect, _shape in ((Dialect.PLANETMINT_1, _SHAPE_2), (Dialect.PLANETMINT_2, _SHAPE_3)):
    _only = (_dialect,)
    for _what in _shape:
        SCRIPTS.schema(f"{_what} missing", _REQUIRED, create_with(_script(_dialect, drop(_what))), _only)
        SCRIPTS.schema(f"{_what} null", _TYPE, create_with(_script(_dialect, put(_what, to=None))), _only)
    SCRIPTS.schema("unknown member", _ADDITIONAL, create_with(_script(_dialect, put("extra", to=1))), _only)
    for _value in ("", "0" * 63, "g" * 64):
        _play = create_with(_script(_dialect, put("state", to=_value)))
        SCRIPTS.schema(f"state {_value!r}", _PATTERN, _play, _only)
    for _value in (None, [], {"raw": 5}, {"txids": []}):
        _play = create_with(_script(_dialect, put("policies", to=_value)))
        SCRIPTS.schema(f"policies {_value!r}", _TYPE, _play, _only)
for _what, _code, _rule in (
    ("empty", {}, _REQUIRED),
    ("of another type", {"type": "lua", "raw": "", "parameters": []}, _ENUM),
    ("with parameters of text", {"type": "zenroom", "raw": "", "parameters": ["x"]}, _TYPE),
    ("by reference and more", {"transaction_id": _HEX, "raw": ""}, _ADDITIONAL),
    ("by a reference that is none", {"transaction_id": "x"}, _PATTERN),
):
    _play = create_with(_script(Dialect.PLANETMINT_1, put("code", to=_code)))
    SCRIPTS.schema(f"code {_what}", _rule, _play, (Dialect.PLANETMINT_1,))


@SCRIPTS.case("any on a chain without contracts", InvalidScript, "script.off", VERSION_3)
def _script_on_create(scene: Scene) -> Built:
    return scene.build.draft_create(scene.alice).changed(put("script", to=_SHAPE_3)).signed()


@SCRIPTS.case("any on a TRANSFER of a chain without contracts", InvalidScript, "script.off", VERSION_3)
def _script_on_transfer(scene: Scene) -> Built:
    draft = scene.build.draft_transfer([scene.asset().spend()], scene.to_bob())
    return draft.changed(put("script", to=_SHAPE_3)).signed()
