# SPDX-License-Identifier: AGPL-3.0-or-later
"""Wire formats written a second time, for the generator: canonical JSON, ids, keys, conditions and fulfillments.

Shares no code with the node and none with the published packages, so that a fault in either shows up as a
disagreement. Only what valid transactions need is here; broken ones are made by damaging these.
Source: transactions 4 and 5.
"""

import base64
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import base58
from nacl.signing import SigningKey

Json = Any
"""Any JSON value; damaged transactions have no type that could be named."""

ED25519_COST = 131072
SUBCONDITION_COST = 1024

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def canonical(value: Json) -> str:
    """Canonical JSON text of `value` (transactions 4.1)."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return canonical_string(value)
    if isinstance(value, Sequence):
        return "[" + ",".join(canonical(item) for item in value) + "]"
    members = (f"{canonical_string(key)}:{canonical(value[key])}" for key in sorted(value))
    return "{" + ",".join(members) + "}"


def canonical_string(text: str) -> str:
    """A JSON string with the fewest escapes; those below U+0020 in upper-case hex."""
    escaped = (_ESCAPES.get(char) or (f"\\u{ord(char):04X}" if char < " " else char) for char in text)
    return '"' + "".join(escaped) + '"'


def sha3(text: str) -> bytes:
    """SHA3-256 of the UTF-8 form; lone surrogates pass through, since some bodies hold them."""
    return hashlib.sha3_256(text.encode("utf-8", "surrogatepass")).digest()


Writer = Callable[[Json], str]
"""What makes canonical text of a value; another one than `canonical` where a value holds a place mark."""


def compute_id(transaction: Mapping[str, Json], write: Writer = canonical) -> str:
    """The id that `transaction` should have (transactions 4.2)."""
    return sha3(write({**transaction, "id": None})).hex()


def signing_message(transaction: Mapping[str, Json], index: int, write: Writer = canonical) -> bytes:
    """The digest that the leaves of input `index` sign (transactions 4.3)."""
    bare = [{**item, "fulfillment": None} if isinstance(item, dict) else item for item in transaction["inputs"]]
    text = write({**transaction, "inputs": bare, "id": None})
    reference = bare[index].get("fulfills")
    if isinstance(reference, dict):
        text += f"{reference.get('transaction_id')}{reference.get('output_index')}"
    return sha3(text)


def base64url(data: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64url(text: str) -> bytes:
    """Inverse of `base64url`; takes text with or without padding."""
    return base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))


def der(tag: int, content: bytes) -> bytes:
    """One DER element with a one-byte tag."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(length)]) + length + content


def der_integer(value: int) -> bytes:
    """Content octets of a non-negative INTEGER."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


class _Ed25519:
    """The condition of one key; `raw` are the 32 bytes of the key."""

    raw: bytes

    @cached_property
    def text(self) -> str:
        """The public key in base58."""
        return base58.b58encode(self.raw).decode()

    @property
    def cost(self) -> int:
        return ED25519_COST

    @property
    def details(self) -> dict[str, Json]:
        return {"type": "ed25519-sha-256", "public_key": self.text}

    @property
    def keys(self) -> tuple["_Ed25519", ...]:
        return (self,)

    @property
    def depth(self) -> int:
        return 0

    @cached_property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(der(0x30, der(0x80, self.raw))).digest()

    @property
    def condition(self) -> bytes:
        return der(0xA4, der(0x80, self.fingerprint) + der(0x81, der_integer(self.cost)))

    @property
    def uri(self) -> str:
        return f"ni:///sha-256;{base64url(self.fingerprint)}?fpt=ed25519-sha-256&cost={self.cost}"

    def fulfill(self, message: bytes, signers: Collection[str] | None = None) -> bytes:
        """DER fulfillment; `signers` is of no effect for a single key."""
        return der(0xA4, der(0x80, self.raw) + der(0x81, self.sign(message)))

    def can_fulfill(self, signers: Collection[str] | None) -> bool:
        """Whether these keys (None: everybody) suffice."""
        return signers is None or self.text in signers

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        raise NotImplementedError


@dataclass(frozen=True)
class PublicKey(_Ed25519):
    """A key without its secret."""

    raw: bytes


@dataclass(frozen=True)
class Key(_Ed25519):
    """An ed25519 key pair; its seed is the SHA-256 of `name`."""

    name: str

    @cached_property
    def _signing(self) -> SigningKey:
        return SigningKey(hashlib.sha256(self.name.encode()).digest())

    @cached_property
    def raw(self) -> bytes:  # type: ignore[override]
        """The 32 bytes of the public key."""
        return bytes(self._signing.verify_key)

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message).signature


@dataclass(frozen=True)
class Threshold:
    """`needed` of `parts`; a part is a key or another threshold."""

    needed: int
    parts: tuple["_Ed25519 | Threshold", ...]

    @property
    def cost(self) -> int:
        largest = sorted((part.cost for part in self.parts), reverse=True)[: self.needed]
        return sum(largest) + SUBCONDITION_COST * len(self.parts)

    @property
    def details(self) -> dict[str, Json]:
        parts = [part.details for part in self.parts]
        return {"type": "threshold-sha-256", "threshold": self.needed, "subconditions": parts}

    @property
    def keys(self) -> tuple[_Ed25519, ...]:
        return tuple(key for part in self.parts for key in part.keys)

    @property
    def depth(self) -> int:
        return 1 + max((part.depth for part in self.parts), default=0)

    @cached_property
    def fingerprint(self) -> bytes:
        conditions = b"".join(sorted(part.condition for part in self.parts))
        return hashlib.sha256(der(0x30, der(0x80, der_integer(self.needed)) + der(0xA1, conditions))).digest()

    @property
    def condition(self) -> bytes:
        # Subtypes: bit 4 (ed25519) is the only type ever used below, as bit string 0b00001 with 3 unused bits.
        subtypes = der(0x82, bytes([3, 0b00001000]))
        return der(0xA2, der(0x80, self.fingerprint) + der(0x81, der_integer(self.cost)) + subtypes)

    @property
    def uri(self) -> str:
        tail = f"fpt=threshold-sha-256&cost={self.cost}&subtypes=ed25519-sha-256"
        return f"ni:///sha-256;{base64url(self.fingerprint)}?{tail}"

    def can_fulfill(self, signers: Collection[str] | None) -> bool:
        """Whether these keys (None: everybody) suffice."""
        return sum(part.can_fulfill(signers) for part in self.parts) >= self.needed

    def fulfill(self, message: bytes, signers: Collection[str] | None = None) -> bytes:
        """DER fulfillment by the first parts that `signers` (base58 keys, None: everybody) can fulfill."""
        able = [part for part in self.parts if part.can_fulfill(signers)]
        able = sorted(able, key=lambda part: part.cost)[: self.needed]
        rest = list(self.parts)
        for part in able:
            rest.remove(part)
        fulfilled = b"".join(sorted(part.fulfill(message, signers) for part in able))
        conditions = b"".join(sorted(part.condition for part in rest))
        return der(0xA2, der(0xA0, fulfilled) + der(0xA1, conditions))


Condition = _Ed25519 | Threshold


def n_of_n(keys: Sequence[Key]) -> Condition:
    """What drivers make of a list of owners: the key itself, or all of them."""
    return keys[0] if len(keys) == 1 else Threshold(len(keys), tuple(keys))


def public_key(text: Json) -> PublicKey | None:
    """The key that `text` is the base58 form of, None unless it has 43 or 44 characters for 32 bytes."""
    if not isinstance(text, str) or len(text) not in (43, 44) or text.strip() != text:
        return None
    try:
        raw = base58.b58decode(text)
    except ValueError:
        return None
    return PublicKey(raw) if len(raw) == 32 else None


def condition_of(details: Json) -> Condition | None:
    """The condition that `details` describe; None for what has no URI or holds other types."""
    if not isinstance(details, dict):
        return None
    if details.get("type") == "ed25519-sha-256":
        return public_key(details.get("public_key"))
    needed, items = details.get("threshold"), details.get("subconditions")
    if type(needed) is not int or not isinstance(items, list) or not 1 <= needed <= len(items):
        return None
    parts = [condition_of(item) for item in items]
    return None if None in parts else Threshold(needed, tuple(part for part in parts if part is not None))


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """The DER elements that follow one another in `data`.

    Raises:
        ValueError: Not DER with one-byte tags, or a length that is not minimal or runs past the end.
    """
    found = []
    while data:
        if len(data) < 2:
            raise ValueError("cut off")
        tag, size, start = data[0], data[1], 2
        if size > 127:
            start = 2 + size - 128
            size = int.from_bytes(data[2:start], "big")
        if data[:start] != der(tag, bytes(min(size, 1 << 20)))[:start] or start + size > len(data):
            raise ValueError("not DER")
        found.append((tag, data[start : start + size]))
        data = data[start + size :]
    return found


def signers_of(text: Json) -> set[str] | None:
    """Base58 keys whose signatures stand in a canonical fulfillment; None where it is not canonical."""
    try:
        data = from_base64url(text)
        if base64url(data) != text:
            return None
        [element] = elements(data)
        return _signers(element)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None


def _signers(element: tuple[int, bytes]) -> set[str]:
    tag, content = element
    parts = elements(content)
    if tag == 0xA4:
        [(first, key), (second, signature)] = parts
        if (first, len(key), second, len(signature)) != (0x80, 32, 0x81, 64):
            raise ValueError("not an ed25519 fulfillment")
        return {base58.b58encode(key).decode()}
    if tag != 0xA2 or [item[0] for item in parts] != [0xA0, 0xA1]:
        raise ValueError("not a threshold fulfillment")
    for _, items in parts:
        encoded = [der(*item) for item in elements(items)]
        if encoded != sorted(encoded):
            raise ValueError("a set out of order")
    given = elements(parts[0][1])
    if not given:
        raise ValueError("a threshold of nothing")
    for tag, inner in elements(parts[1][1]):
        _check_condition(tag, elements(inner))
    return set().union(*(_signers(item) for item in given))


def _check_condition(tag: int, parts: list[tuple[int, bytes]]) -> None:
    """Fingerprint, smallest form of the cost, and for thresholds a bit string without trailing zero bits."""
    tags = [0x80, 0x81, 0x82] if tag == 0xA2 else [0x80, 0x81]
    if tag not in (0xA2, 0xA4) or [part[0] for part in parts] != tags or len(parts[0][1]) != 32:
        raise ValueError("not a condition")
    cost = parts[1][1]
    if der_integer(int.from_bytes(cost, "big")) != cost:
        raise ValueError("not the smallest form of the cost")
    if tag == 0xA2 and parts[2][1] != bytes([3, 0b00001000]):
        raise ValueError("not the subtypes of a tree of keys")
