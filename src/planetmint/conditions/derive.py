# SPDX-License-Identifier: AGPL-3.0-or-later
"""Conditions from what they stand for: fingerprint contents, fingerprints, costs and DER.

Every node of a tree is visited once, from the leaves up, so that the work grows with the size of the tree.
Source: transactions 5.1 and 5.2. Pinned by tests/vectors/shared/crypto_conditions.json.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import repeat

from planetmint.conditions import der
from planetmint.conditions.types import (
    ED25519,
    FINGERPRINT_BYTES,
    LEAF_COST,
    SUBCONDITION_COST,
    THRESHOLD,
    ZENROOM,
)
from planetmint.model.condition import (
    Condition,
    Details,
    Ed25519Details,
    Ed25519Fulfillment,
    Fulfillment,
    ThresholdDetails,
    ThresholdFulfillment,
    ZenroomDetails,
    ZenroomFulfillment,
)
from planetmint.model.errors import InvariantViolated
from planetmint.model.keys import decode_public_key

_ED25519_HEAD = b"\x30\x22\x80\x20"


def derive_condition(details: Details, scripts: Sequence[str] = ()) -> Condition | None:
    """The condition that `details` describe; None where a zenroom leaf keeps its contract to itself.

    Args:
        details: Any tree.
        scripts: The contracts of all its zenroom leaves in their order, for whoever makes the tree: they stand
            nowhere in it.

    Raises:
        ValueError: There are scripts, and not one for each zenroom leaf.
    """
    if not scripts:
        return _derive(details, None)
    contracts = iter([contract_condition(script) for script in scripts])
    condition = _derive(details, contracts)
    if next(contracts, None) is not None:
        raise ValueError("more contracts than the condition has places for")
    return condition


def contract_condition(script: str) -> Condition:
    """The condition of a contract: its text alone counts, neither data nor keys."""
    return _zenroom_condition(script.encode())


def undisclosed_condition(details: Details) -> Condition:
    """As `derive_condition` with a fingerprint of zeros for every contract: type, cost and subtypes are true."""
    condition = _derive(details, repeat(Condition(ZENROOM, bytes(FINGERPRINT_BYTES), LEAF_COST)))
    if condition is None:
        raise InvariantViolated("every contract was given a condition")
    return condition


def fulfillment_condition(fulfillment: Fulfillment) -> Condition:
    """The condition that `fulfillment` fulfils, if its signatures verify."""
    if isinstance(fulfillment, Ed25519Fulfillment):
        return _ed25519_condition(fulfillment.public_key)
    if isinstance(fulfillment, ZenroomFulfillment):
        return _zenroom_condition(fulfillment.script)
    return threshold_condition(len(fulfillment.fulfillments), _all_conditions(fulfillment))


def fingerprint_contents(node: Details | Fulfillment) -> bytes | None:
    """The octets whose SHA-256 is the fingerprint; None where `derive_condition` answers None."""
    match node:
        case Ed25519Details():
            return ed25519_contents(_key_bytes(node))
        case ThresholdDetails():
            subconditions = _derive_all(node, None)
            return None if subconditions is None else _threshold_contents(node.threshold, subconditions)
        case ZenroomDetails():
            return None
        case Ed25519Fulfillment():
            return ed25519_contents(node.public_key)
        case ThresholdFulfillment():
            return _threshold_contents(len(node.fulfillments), _all_conditions(node))
        case ZenroomFulfillment():
            return _zenroom_contents(node.script)


def ed25519_contents(key: bytes) -> bytes:
    """Fingerprint contents of an ed25519 condition: a SEQUENCE of the key's 32 bytes as member 0."""
    return _ED25519_HEAD + key


def condition_der(condition: Condition) -> bytes:
    """DER of a condition; the subtypes stand only in that of a compound type."""
    content = der.element(der.PRIMITIVE, condition.fingerprint)
    content += der.element(der.PRIMITIVE | 1, der.integer(condition.cost))
    if condition.type_id == THRESHOLD:
        content += der.element(der.PRIMITIVE | 2, der.bit_string(condition.subtypes))
    return der.element(der.CONSTRUCTED | condition.type_id, content)


def _key_bytes(details: Ed25519Details) -> bytes:
    key = decode_public_key(details.public_key)
    if key is None:
        raise InvariantViolated("details with a key that cannot be decoded cannot have been read")
    return key


def _derive(details: Details, contracts: Iterator[Condition] | None) -> Condition | None:
    """The condition, each zenroom leaf taking the next of `contracts`; None where it needs them and has none."""
    if isinstance(details, Ed25519Details):
        return _ed25519_condition(_key_bytes(details))
    if isinstance(details, ZenroomDetails):
        return None if contracts is None else _next_contract(contracts)
    subconditions = _derive_all(details, contracts)
    return None if subconditions is None else threshold_condition(details.threshold, subconditions)


def _derive_all(details: ThresholdDetails, contracts: Iterator[Condition] | None) -> list[Condition] | None:
    conditions = []
    for item in details.subconditions:
        condition = _derive(item, contracts)
        if condition is None:
            return None
        conditions.append(condition)
    return conditions


def _next_contract(contracts: Iterator[Condition]) -> Condition:
    contract = next(contracts, None)
    if contract is None:
        raise ValueError("fewer contracts than the condition has places for")
    return contract


def _all_conditions(fulfillment: ThresholdFulfillment) -> list[Condition]:
    return [*map(fulfillment_condition, fulfillment.fulfillments), *fulfillment.conditions]


def _ed25519_condition(key: bytes) -> Condition:
    return Condition(ED25519, sha256(ed25519_contents(key)).digest(), LEAF_COST)


def _zenroom_condition(script: bytes) -> Condition:
    return Condition(ZENROOM, sha256(_zenroom_contents(script)).digest(), LEAF_COST)


def threshold_condition(threshold: int, subconditions: Sequence[Condition]) -> Condition:
    """The condition that `threshold` of `subconditions` are fulfilled."""
    largest = sorted((condition.cost for condition in subconditions), reverse=True)[:threshold]
    subtypes = frozenset[int]().union(*({item.type_id} | item.subtypes for item in subconditions))
    return Condition(
        THRESHOLD,
        sha256(_threshold_contents(threshold, subconditions)).digest(),
        sum(largest) + SUBCONDITION_COST * len(subconditions),
        subtypes - {THRESHOLD},
    )


def _threshold_contents(threshold: int, subconditions: Sequence[Condition]) -> bytes:
    members = der.element(der.PRIMITIVE, der.integer(threshold))
    members += der.element(der.CONSTRUCTED | 1, der.set_of(map(condition_der, subconditions)))
    return der.element(der.SEQUENCE, members)


def _zenroom_contents(script: bytes) -> bytes:
    return der.element(der.SEQUENCE, der.element(der.PRIMITIVE, script))
