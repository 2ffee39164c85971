# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fulfillments as text: read and written in exactly one spelling.

A third party must not be able to change the text, and so the id, of a valid transaction: what was read is
written again and must give the same text. Source: transactions 5.1 and 5.3.
"""

from planetmint.conditions import der
from planetmint.conditions.base64url import decode_base64url, encode_base64url
from planetmint.conditions.derive import condition_der
from planetmint.conditions.types import ED25519, FINGERPRINT_BYTES, LEAF_TYPES, MAX_COST, THRESHOLD, ZENROOM
from planetmint.model.condition import (
    Condition,
    Ed25519Fulfillment,
    Fulfillment,
    ThresholdFulfillment,
    ZenroomFulfillment,
)
from planetmint.model.errors import InvalidSignature, ThresholdTooDeep

_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_ED25519_BYTES = 102
_ED25519_HEAD = b"\xa4\x64\x80\x20"
_ED25519_MIDDLE = b"\x81\x40"
_THRESHOLD_TAG = der.CONSTRUCTED | THRESHOLD
_ED25519_TAG = der.CONSTRUCTED | ED25519
_ZENROOM_TAG = der.CONSTRUCTED | ZENROOM


def decode_fulfillment(text: str, *, max_depth: int, max_leaves: int) -> Fulfillment:
    """Read a fulfillment.

    Args:
        text: Any text.
        max_depth: Levels of thresholds in one another that are allowed.
        max_leaves: Signatures, contracts and conditions that the tree may have in all.

    Raises:
        InvalidSignature: Not unpadded base64url of the DER of a fulfillment of the types that transactions
            may use, or not in the one right spelling, or too many leaves.
        ThresholdTooDeep: Nested deeper than `max_depth`; what stands below was not read.
    """
    raw = decode_base64url(text)
    if raw is None:
        raise _unreadable()
    if len(raw) == _ED25519_BYTES and raw[:4] == _ED25519_HEAD and raw[36:38] == _ED25519_MIDDLE:
        return Ed25519Fulfillment(raw[4:36], raw[38:])
    try:
        fulfillment = _Reader(raw, max_depth, max_leaves).read()
    except der.DerError:
        raise _unreadable() from None
    if fulfillment_der(fulfillment) != raw:
        raise _unreadable()
    return fulfillment


def encode_fulfillment(fulfillment: Fulfillment) -> str:
    """Text of a fulfillment: unpadded base64url of its DER."""
    return encode_base64url(fulfillment_der(fulfillment))


def fulfillment_der(fulfillment: Fulfillment) -> bytes:
    """DER of a fulfillment; members of sets are put in order."""
    match fulfillment:
        case Ed25519Fulfillment(public_key=public_key, signature=signature):
            return _ED25519_HEAD + public_key + _ED25519_MIDDLE + signature
        case ZenroomFulfillment(script=script, data=data, keys=keys):
            members = [
                der.element(der.PRIMITIVE | number, item) for number, item in enumerate((script, data, keys))
            ]
            return der.element(_ZENROOM_TAG, b"".join(members))
        case ThresholdFulfillment(fulfillments=fulfillments, conditions=conditions):
            content = der.element(der.CONSTRUCTED, der.set_of(map(fulfillment_der, fulfillments)))
            content += der.element(der.CONSTRUCTED | 1, der.set_of(map(condition_der, conditions)))
            return der.element(_THRESHOLD_TAG, content)


def _unreadable() -> InvalidSignature:
    return InvalidSignature("Fulfillment URI couldn't been parsed", rule="fulfillment.encoding")


class _Reader:
    """Reads the DER of one fulfillment; every method raises DerError for what does not belong there."""

    def __init__(self, raw: bytes, max_depth: int, max_leaves: int) -> None:
        self._raw = raw
        self._max_depth = max_depth
        self._leaves_left = max_leaves

    def read(self) -> Fulfillment:
        fulfillment, end = self._fulfillment(0, len(self._raw), 0)
        if end != len(self._raw):
            raise der.DerError("octets follow the fulfillment")
        return fulfillment

    def _fulfillment(self, start: int, end: int, depth: int) -> tuple[Fulfillment, int]:
        """The fulfillment at `start`, which has `depth` thresholds above it, and where it ends."""
        tag, begin, stop = der.read_element(self._raw, start, end)
        if tag == _THRESHOLD_TAG:
            return self._threshold(begin, stop, depth + 1), stop
        self._count_leaf()
        if tag == _ED25519_TAG:
            public_key, signature = self._octets(begin, stop, 2)
            if len(public_key) != _PUBLIC_KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
                raise der.DerError("a key or a signature has the wrong length")
            return Ed25519Fulfillment(public_key, signature), stop
        if tag == _ZENROOM_TAG:
            script, data, keys = self._octets(begin, stop, 3)
            return ZenroomFulfillment(script, data, keys), stop
        raise der.DerError("a fulfillment of a type that transactions may not use")

    def _threshold(self, start: int, end: int, depth: int) -> ThresholdFulfillment:
        if depth > self._max_depth:
            raise ThresholdTooDeep(
                f"thresholds nest deeper than {self._max_depth} levels", rule="fulfillment.depth"
            )
        given, rest = der.read_members(self._raw, start, end, (der.CONSTRUCTED, der.CONSTRUCTED | 1))
        fulfillments = []
        position, stop = given
        while position < stop:
            fulfillment, position = self._fulfillment(position, stop, depth)
            fulfillments.append(fulfillment)
        if not fulfillments:
            raise der.DerError("a threshold of none")
        conditions = []
        position, stop = rest
        while position < stop:
            condition, position = self._condition(position, stop)
            conditions.append(condition)
        return ThresholdFulfillment(tuple(fulfillments), tuple(conditions))

    def _condition(self, start: int, end: int) -> tuple[Condition, int]:
        """The condition at `start` and where it ends."""
        self._count_leaf()
        tag, begin, stop = der.read_element(self._raw, start, end)
        if tag == _THRESHOLD_TAG:
            fingerprint, cost, bits = self._octets(begin, stop, 3)
            subtypes = der.read_bit_string(bits)
        elif tag in (_ED25519_TAG, _ZENROOM_TAG):
            fingerprint, cost = self._octets(begin, stop, 2)
            subtypes = frozenset()
        else:
            raise der.DerError("a condition of a type that transactions may not use")
        if len(fingerprint) != FINGERPRINT_BYTES or not subtypes <= LEAF_TYPES:
            raise der.DerError("a fingerprint of the wrong length, or unknown subtypes")
        return Condition(tag & 0x1F, fingerprint, der.read_integer(cost, MAX_COST), subtypes), stop

    def _octets(self, start: int, end: int, count: int) -> list[bytes]:
        """Contents of `count` primitive members, numbered from 0, that fill `start` to `end`."""
        tags = range(der.PRIMITIVE, der.PRIMITIVE + count)
        return [self._raw[begin:stop] for begin, stop in der.read_members(self._raw, start, end, tags)]

    def _count_leaf(self) -> None:
        self._leaves_left -= 1
        if self._leaves_left < 0:
            raise der.DerError("too many leaves")
