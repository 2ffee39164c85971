# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts that are no transaction at all, and ids that are not the hash (validation 2, steps 1 and 2)."""

from planetmint.model.errors import InvalidHash, SchemaValidationError, TransactionTooLarge
from planetmint.model.parameters import ChainParameters
from planetmint.testing.build import Built, Dialect
from planetmint.testing.invalid.case import OBJECTS, VERSION_3, Group, Play, Scene, create_then, drop, put

_BOUNDS = ChainParameters()
TEXTS = Group("text")
IDS = Group("id")


def _with_data(text: str) -> bytes:
    """A CREATE that is unsigned but whose data is `text`; what is wrong is found before anything else."""
    return f'{{"asset":{{"data":{{"a":{text}}}}},"id":null,"operation":"CREATE","version":"2.0"}}'.encode()


def _fixed(text: bytes) -> Play:
    return lambda scene: text


for _what, _text in {
    "cut off": b'{"version":"2.0"',
    "a word": b"transaction",
    "single quotes": b"{'version':'2.0'}",
    "trailing comma": b'{"version":"2.0",}',
    "two values": b"{} {}",
    "not UTF-8": b'{"version":"\xff"}',
    "form data": b"version=2.0&operation=CREATE",
    "leading zero": _with_data("01"),
    "control character": _with_data('"\x01"'),
    "unknown escape": _with_data('"\\x41"'),
}.items():
    TEXTS.schema(_what, "json.syntax", _fixed(_text), VERSION_3)

for _what, _text, _rule in (
    ("null", b"null", "schema.type"),
    ("an array", b"[]", "schema.type"),
    ("a number", b"5", "schema.type"),
    ("a string", b'"CREATE"', "schema.type"),
    ("an empty object", b"{}", "schema.required"),
    ("NaN", _with_data("NaN"), "json.number"),
    ("Infinity", _with_data("Infinity"), "json.number"),
    ("minus Infinity", _with_data("-Infinity"), "json.number"),
    ("number beyond a double", _with_data("1e400"), "json.number"),
    ("number of 309 digits", _with_data("1" * 309), "json.digits"),
    ("number of 5,000 digits", _with_data("1" * 5000), "json.digits"),
    ("fraction of 309 digits", _with_data("0." + "1" * 308), "json.digits"),
    ("half of a surrogate pair", _with_data('"\\ud800"'), "json.surrogate"),
    ("half of a surrogate pair in a name", _with_data('{"\\udc00":1}'), "json.surrogate"),
    ("401 levels", _with_data("[" * 399 + "]" * 399), "json.depth"),
    ("a million brackets", b"[" * 1_000_000, "json.depth"),
):
    TEXTS.schema(_what, _rule, _fixed(_text), VERSION_3)


def _with_number(literal: bytes) -> Play:
    """A whole CREATE with a number in its data; an overflow may come to light only when it is written again."""
    return lambda scene: scene.build.create(scene.alice, data="@").canonical.replace(b'"@"', literal)


for _literal in (b"9.9e308", b"-1.8E308", b"17.9769313486231590e307", b"9" * 300 + b"e9"):
    TEXTS.schema(f"overflow {_literal.decode()[:24]}", "json.number", _with_number(_literal), OBJECTS)


@TEXTS.case("one byte too long", TransactionTooLarge, "size")
def _too_large(scene: Scene) -> Built:
    def padded(size: int) -> Built:
        return scene.build.create(scene.alice, metadata=scene.dialect.content("x" * size))

    missing = _BOUNDS.max_transaction_bytes + 1 - len(padded(1).canonical)
    return padded(1 + missing)


for _what, _change in {
    "tampered": lambda wire: wire.update(id="0" * 64),
    "upper case": lambda wire: wire.update(id=wire["id"].upper()),
    "65 digits": lambda wire: wire.update(id=wire["id"] + "0"),
    "null": put("id", to=None),
    "a number": put("id", to=5),
    "an object": put("id", to={}),
    "no hex": put("id", to="no hash"),
    "empty": put("id", to=""),
    "missing": drop("id"),
    "of another content": lambda wire: wire["outputs"][0].update(amount="2"),
    "of another spelling of a number": lambda wire: wire["outputs"][0].update(amount="01"),
}.items():
    IDS.add(
        _what,
        InvalidHash,
        "id",
        tuple(Dialect),
        lambda scene, change=_change: (  # type: ignore[misc]
            scene.build.create(scene.alice).changed(change, new_id=False)
        ),
    )


@IDS.case("wrong, and the schema is broken too", InvalidHash, "id")
def _hash_before_schema(scene: Scene) -> Built:
    return scene.build.create(scene.alice).changed(put("outputs", to=None), new_id=False)


@IDS.case("missing member is told first", SchemaValidationError, "schema.required")
def _missing_before_hash(scene: Scene) -> Built:
    return scene.build.create(scene.alice).changed(drop("outputs"), new_id=False)


IDS.schema("members of the other version", "schema.required", create_then(lambda wire: _swap_version(wire)))


def _swap_version(wire: dict[str, object]) -> None:
    wire["version"] = "2.0" if wire["version"] == "3.0" else "3.0"
