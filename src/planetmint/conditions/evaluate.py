# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who signed, and whether the signatures verify.

Verification is libsodium's, which refuses signatures that are not canonical and keys of small order: all nodes
must be equally strict. Contracts are not run here. Source: transactions 5.3.
"""

from collections.abc import Iterator

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from planetmint.conditions.types import ZENROOM
from planetmint.model.condition import (
    Condition,
    Details,
    Ed25519Fulfillment,
    Fulfillment,
    ThresholdDetails,
    ThresholdFulfillment,
    ZenroomDetails,
    ZenroomFulfillment,
)
from planetmint.model.keys import encode_public_key


def verify_signatures(fulfillment: Fulfillment, message: bytes) -> bool:
    """Whether every ed25519 leaf signs `message`; zenroom leaves are passed over.

    That the fulfillment fits an output, and that enough is given, is the URI's matter
    (`planetmint.conditions.fulfillment_uri`).
    """
    return all(_verifies(leaf, message) for leaf in _ed25519_leaves(fulfillment))


def signed_parts(fulfillment: Fulfillment, message: bytes) -> Iterator[bytes]:
    """Of every ed25519 leaf the public key (32 bytes), the signature (64) and `message` (32), joined."""
    for leaf in _ed25519_leaves(fulfillment):
        yield leaf.public_key + leaf.signature + message


def signers(fulfillment: Fulfillment) -> tuple[str, ...]:
    """Base58 keys of the ed25519 leaves in the order of the fulfillment, no repeats."""
    if isinstance(fulfillment, Ed25519Fulfillment):
        return (encode_public_key(fulfillment.public_key),)
    keys = dict.fromkeys(leaf.public_key for leaf in _ed25519_leaves(fulfillment))
    return tuple(map(encode_public_key, keys))


def has_zenroom(node: Details | Fulfillment | Condition) -> bool:
    """Whether a contract occurs anywhere in `node`, be it only by its fingerprint."""
    match node:
        case ZenroomDetails() | ZenroomFulfillment():
            return True
        case ThresholdDetails(subconditions=subconditions):
            return any(map(has_zenroom, subconditions))
        case ThresholdFulfillment(fulfillments=fulfillments, conditions=conditions):
            return any(map(has_zenroom, fulfillments)) or any(map(has_zenroom, conditions))
        case Condition(type_id=type_id, subtypes=subtypes):
            return type_id == ZENROOM or ZENROOM in subtypes
        case _:
            return False


def contract_leaves(fulfillment: Fulfillment) -> Iterator[ZenroomFulfillment]:
    """The contracts that `fulfillment` gives, in its order; those of which it only shows a condition are not."""
    if isinstance(fulfillment, ZenroomFulfillment):
        yield fulfillment
    elif isinstance(fulfillment, ThresholdFulfillment):
        for item in fulfillment.fulfillments:
            yield from contract_leaves(item)


def _ed25519_leaves(fulfillment: Fulfillment) -> Iterator[Ed25519Fulfillment]:
    if isinstance(fulfillment, Ed25519Fulfillment):
        yield fulfillment
    elif isinstance(fulfillment, ThresholdFulfillment):
        for item in fulfillment.fulfillments:
            yield from _ed25519_leaves(item)


def _verifies(leaf: Ed25519Fulfillment, message: bytes) -> bool:
    try:
        crypto_sign_open(leaf.signature + message, leaf.public_key)
    except BadSignatureError:
        return False
    return True
