# SPDX-License-Identifier: AGPL-3.0-or-later
"""Conditions that cannot be read, URIs that do not fit them, and fulfillments that are none (transactions 5)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

from planetmint.conditions import details_uri, encode_fulfillment, fulfill
from planetmint.model.condition import Ed25519Fulfillment, Fulfillment, ThresholdFulfillment, ZenroomFulfillment
from planetmint.model.errors import InvalidSignature, SchemaValidationError, ThresholdTooDeep
from planetmint.model.keys import encode_public_key
from planetmint.model.parameters import ChainParameters
from planetmint.testing.build import Built, Wire, all_of, details, message, public_key, seed
from planetmint.testing.invalid.case import ALL, Change, Group, Play, Scene, create_then, create_with, put
from planetmint.testing.invalid.structure import BAD_KEYS

_BOUNDS = ChainParameters()
DETAILS = Group("condition")
URIS = Group("condition uri")
FULFILLMENTS = Group("fulfillment")
_KEY = public_key("somebody")


def _key(text: Any = _KEY) -> Wire:
    return {"type": "ed25519-sha-256", "public_key": text}


def _threshold(number: Any, *items: Any) -> Wire:
    return {"type": "threshold-sha-256", "threshold": number, "subconditions": list(items)}


def _nested(levels: int) -> Wire:
    tree = _key()
    for _ in range(levels):
        tree = _threshold(1, tree)
    return tree


def _details(value: Any) -> Play:
    """The change leaves the keys that are listed to nobody, so that only the condition is at fault."""

    def change(wire: Wire) -> None:
        wire["outputs"][0]["public_keys"] = []
        wire["outputs"][0]["condition"]["details"] = value

    return create_with(change)


_TREES: tuple[tuple[str, Any, str], ...] = (
    ("null", None, "type"),
    ("an array", [_key()], "type"),
    ("a text", "ed25519-sha-256", "type"),
    ("without a type", {"public_key": _KEY}, "members"),
    ("of type null", {"type": None, "public_key": _KEY}, "type"),
    ("of an unknown type", {"type": "ed448-sha-256", "public_key": _KEY}, "type"),
    ("preimage", {"type": "preimage-sha-256", "preimage": ""}, "type"),
    ("prefix", {"type": "prefix-sha-256", "prefix": "", "subcondition": _key()}, "type"),
    ("rsa", {"type": "rsa-sha-256", "modulus": ""}, "type"),
    ("without a key", {"type": "ed25519-sha-256"}, "members"),
    ("with a signature", {**_key(), "signature": None}, "members"),
    ("key null", _key(None), "public_key"),
    ("key a number", _key(5), "public_key"),
    ("without a threshold", {"type": "threshold-sha-256", "subconditions": [_key()]}, "members"),
    ("without subconditions", {"type": "threshold-sha-256", "threshold": 1}, "members"),
    ("threshold with a key", {**_threshold(1, _key()), "public_key": _KEY}, "members"),
    ("threshold 0", _threshold(0, _key()), "threshold"),
    ("threshold -1", _threshold(-1, _key()), "threshold"),
    ("threshold 101", _threshold(101, *[_key()] * 101), "threshold"),
    ("threshold above the count", _threshold(2, _key()), "threshold"),
    ("threshold of 300 digits", _threshold(10**299, _key()), "threshold"),
    ("threshold 1.0", _threshold(1.0, _key()), "threshold"),
    ("threshold true", _threshold(True, _key()), "threshold"),
    ("threshold '1'", _threshold("1", _key()), "threshold"),
    ("threshold null", _threshold(None, _key()), "threshold"),
    ("subconditions empty", _threshold(1), "subconditions"),
    ("subconditions null", {**_threshold(1), "subconditions": None}, "subconditions"),
    ("subconditions an object", {**_threshold(1), "subconditions": {}}, "subconditions"),
    ("subcondition null", _threshold(1, _key(), None), "type"),
    ("subcondition malformed below", _threshold(1, _key(), _threshold(1, _key("x"))), "public_key"),
    ("more leaves than the chain allows", _threshold(1, *[_key()] * (_BOUNDS.max_condition_leaves + 1)), "leaves"),
)
for _what, _tree, _fault in _TREES:
    DETAILS.schema(_what, f"condition.{_fault}", _details(_tree))
for _what, _bad in BAD_KEYS.items():
    DETAILS.schema(f"key {_what}", "condition.public_key", _details(_key(_bad)))
for _levels in (_BOUNDS.max_condition_depth + 1, 101, 150):
    DETAILS.add(f"{_levels} levels", ThresholdTooDeep, "condition.depth", ALL, _details(_nested(_levels)))

# URIs


def _uri(change: Callable[[str], str | None]) -> Play:
    """The URI of the output, after `change` was made to its text."""

    def apply(wire: Wire) -> None:
        condition = wire["outputs"][0]["condition"]
        condition["uri"] = change(condition["uri"])

    return create_with(apply)


for _what, _respell in {
    "empty": lambda uri: "",
    "of another key": lambda uri: details_uri(details("somebody")),
    "of a threshold": lambda uri: details_uri(details(all_of("somebody"))),
    "with a line end": lambda uri: uri + "\n",
    "with an ampersand at the end": lambda uri: uri + "&",
    "with another cost": lambda uri: uri.replace("131072", "131073"),
    "with subtypes": lambda uri: uri + "&subtypes=ed25519-sha-256",
    "in another order": lambda uri: uri.split("?")[0] + "?cost=131072&fpt=ed25519-sha-256",
    "with padding": lambda uri: uri.replace("?", "=?"),
    "of another scheme": lambda uri: uri.replace("ni:///", "NI:///"),
}.items():
    URIS.schema(_what, "schema.uri", _uri(_respell))


def _contract_output(uri: str) -> Change:
    """An output that a contract and a key guard together."""

    def change(wire: Wire) -> None:
        leaf = {"type": "zenroom-sha-256", "public_key": _KEY}
        wire["outputs"][0]["condition"] = {"details": _threshold(2, _key(), leaf), "uri": uri}
        wire["outputs"][0]["public_keys"] = [_KEY]

    return change


_CONTRACT_URI = (
    "ni:///sha-256;f2sMhj8FlpYPDk-q9xbOJBZdR63yl_88XpUBeYNN9dk"
    "?fpt=threshold-sha-256&cost=264192&subtypes=ed25519-sha-256,zenroom-sha-256"
)
for _what, _spelling in {
    "empty over a contract": "",
    "of an unknown type over a contract": _CONTRACT_URI.replace("fpt=threshold", "fpt=rsa"),
    "with a line end over a contract": _CONTRACT_URI + "\n",
    "without members over a contract": _CONTRACT_URI.split("?")[0] + "?",
}.items():
    URIS.add(_what, SchemaValidationError, "schema.pattern", ALL, create_with(_contract_output(_spelling)))

DETAILS.add(
    "a contract on a chain without them",
    InvalidSignature,
    "contracts.off",
    ALL,
    create_with(_contract_output(_CONTRACT_URI)),
)


@DETAILS.case("a bare contract on a chain without them", InvalidSignature, "contracts.off")
def _bare_contract(scene: Scene) -> Built:
    def change(wire: Wire) -> None:
        leaf = {"type": "zenroom-sha-256", "public_key": public_key(scene.alice)}
        uri = "ni:///sha-256;f2sMhj8FlpYPDk-q9xbOJBZdR63yl_88XpUBeYNN9dk?fpt=zenroom-sha-256&cost=131072"
        wire["outputs"][0].update(condition={"details": leaf, "uri": uri}, public_keys=[])

    return scene.build.draft_create(scene.alice).changed(change).signed()


# Fulfillments


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")


_UNREADABLE = {
    "empty": "",
    "one character": "p",
    "zeros": "AAAA",
    "a threshold of none": _text(bytes.fromhex("a204a000a100")),
    "a preimage": _text(bytes.fromhex("a0028000")),
    "an rsa": _text(bytes.fromhex("a30480008100")),
    "a length that runs away": _text(b"\xa4\x84\xff\xff\xff\xff"),
    "an endless length": _text(b"\xa2\x80\xa0\x80"),
    "a signature of 63 bytes": _text(b"\xa4\x63\x80\x20" + bytes(32) + b"\x81\x3f" + bytes(63)),
}
for _what, _unreadable in _UNREADABLE.items():
    FULFILLMENTS.add(
        _what,
        InvalidSignature,
        "fulfillment.encoding",
        ALL,
        create_then(put("inputs", 0, "fulfillment", to=_unreadable)),
    )
FULFILLMENTS.add(
    "a details object",
    InvalidSignature,
    "fulfillment.encoding",
    ALL,
    create_then(put("inputs", 0, "fulfillment", to=_key())),
)


def _respelled(spoil: Callable[[str], str]) -> Play:
    """A CREATE whose fulfillment went through `spoil`."""

    def change(wire: Wire) -> None:
        wire["inputs"][0]["fulfillment"] = spoil(wire["inputs"][0]["fulfillment"])

    return create_then(change)


for _what, _spoil in (
    ("characters after the end", lambda text: text + "AAAA"),
    ("its last character missing", lambda text: text[:-1]),
    ("its first character missing", lambda text: text[1:]),
):
    FULFILLMENTS.add(_what, InvalidSignature, "fulfillment.encoding", ALL, _respelled(_spoil))


def _owned_by_all(scene: Scene) -> Built:
    return scene.build.create(all_of(scene.alice, scene.bob))


@FULFILLMENTS.case("bits behind the last octet", InvalidSignature, "fulfillment.encoding")
def _loose_bits(scene: Scene) -> Built:
    built = _owned_by_all(scene)
    text = built.wire["inputs"][0]["fulfillment"]
    assert len(text) % 4, "the text must end within an octet"
    return built.changed(put("inputs", 0, "fulfillment", to=text[:-1] + chr(ord(text[-1]) + 1)))


@FULFILLMENTS.case("signatures in the other order", InvalidSignature, "fulfillment.encoding")
def _unordered(scene: Scene) -> Built:
    built = _owned_by_all(scene)
    raw = _raw(built.wire["inputs"][0]["fulfillment"])
    head, first, second, end = raw[:6], raw[6:108], raw[108:210], raw[210:]
    assert first[:4] == second[:4] == b"\xa4\x64\x80\x20", "two signatures stand behind six octets"
    return built.changed(put("inputs", 0, "fulfillment", to=_text(head + second + first + end)))


@FULFILLMENTS.case("a length in two octets where one is enough", InvalidSignature, "fulfillment.encoding")
def _long_length(scene: Scene) -> Built:
    built = scene.build.create(scene.alice)
    raw = _raw(built.wire["inputs"][0]["fulfillment"])
    return built.changed(put("inputs", 0, "fulfillment", to=_text(b"\xa4\x81\x64" + raw[2:])))


def _signed_by(scene: Scene, wrap: Any) -> Built:
    """A CREATE by alice whose fulfillment is `wrap` of her own."""
    draft = scene.build.draft_create(scene.alice)
    own = fulfill(details(scene.alice), message(draft.wire, 0), [seed(scene.alice)])
    return draft.signed().changed(put("inputs", 0, "fulfillment", to=encode_fulfillment(wrap(own))))


@FULFILLMENTS.case("too many levels", ThresholdTooDeep, "fulfillment.depth")
def _too_deep(scene: Scene) -> Built:
    def wrap(own: Fulfillment) -> Fulfillment:
        for _ in range(_BOUNDS.max_condition_depth + 1):
            own = ThresholdFulfillment((own,), ())
        return own

    return _signed_by(scene, wrap)


@FULFILLMENTS.case("too many leaves", InvalidSignature, "fulfillment.encoding")
def _too_many_leaves(scene: Scene) -> Built:
    return _signed_by(scene, lambda own: ThresholdFulfillment((own,) * (_BOUNDS.max_condition_leaves + 1), ()))


@FULFILLMENTS.case("a contract on a chain without them", InvalidSignature, "contracts.off")
def _contract(scene: Scene) -> Built:
    return _signed_by(
        scene, lambda own: ThresholdFulfillment((own, ZenroomFulfillment(b"", b"null", b"null")), ())
    )


@FULFILLMENTS.case("a bare contract", InvalidSignature, "contracts.off")
def _contract_alone(scene: Scene) -> Built:
    return _signed_by(scene, lambda own: ZenroomFulfillment(b"Given nothing", b"null", b"null"))


@FULFILLMENTS.case("a key of small order", InvalidSignature, "signature")
def _small_order(scene: Scene) -> Built:
    neutral = bytes([1]) + bytes(31)
    forged = encode_fulfillment(Ed25519Fulfillment(neutral, neutral + bytes(32)))
    built = scene.build.create(scene.alice).changed(
        put("inputs", 0, "owners_before", to=[encode_public_key(neutral)])
    )
    return built.changed(put("inputs", 0, "fulfillment", to=forged))
