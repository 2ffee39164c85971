# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fulfillments made from secret keys, for clients, tools and tests; the node itself never signs for owners."""

from collections.abc import Iterator, Sequence

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair

from planetmint.conditions.derive import derive_condition, fulfillment_condition, threshold_condition
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
from planetmint.model.json import JsonObject, spaced
from planetmint.model.keys import encode_public_key


def contract_fulfillment(
    script: str, data: JsonObject | None = None, keys: JsonObject | None = None
) -> ZenroomFulfillment:
    """A contract with what it is given, as the published libraries spell it (transactions 5.4).

    Args:
        script: Zencode; it alone makes the condition.
        data: What the contract finds beside the `input` of the transaction's script, which wins.
        keys: What the contract finds as keys; an empty object where there are none, as engines fail on null.
    """
    return ZenroomFulfillment(
        script.encode(), spaced(data, sort_keys=False).encode(), spaced(keys or {}, sort_keys=False).encode()
    )


def fulfill(
    details: Details,
    message: bytes,
    secret_seeds: Sequence[bytes],
    contracts: Sequence[ZenroomFulfillment] = (),
) -> Fulfillment:
    """Sign `message` with the keys of `secret_seeds` (32 bytes each) so that `details` are fulfilled.

    Where more subconditions could be fulfilled than a threshold needs, the cheapest are kept, earlier ones first
    among equals; the rest become conditions, as the published libraries do it (transactions 5.3).

    Args:
        details: The tree of the output.
        message: What input to sign (transactions 4.3).
        secret_seeds: Of as many keys as needed.
        contracts: One for each zenroom leaf, in their order.

    Raises:
        ValueError: The keys do not suffice, or there is not one contract for each zenroom leaf.
    """
    pairs = (crypto_sign_seed_keypair(seed) for seed in secret_seeds)
    secrets = {encode_public_key(public): secret for public, secret in pairs}
    waiting = iter(contracts)
    fulfillment = _fulfill(details, message, secrets, waiting)
    if next(waiting, None) is not None:
        raise ValueError("more contracts than the condition has places for")
    if isinstance(fulfillment, Condition):
        raise ValueError("the keys do not suffice to fulfil the condition")
    return fulfillment


def _fulfill(
    details: Details, message: bytes, secrets: dict[str, bytes], contracts: Iterator[ZenroomFulfillment]
) -> Fulfillment | Condition:
    """The fulfillment that `secrets` (base58 key to secret key) allow, else the condition."""
    match details:
        case Ed25519Details(public_key=public_key):
            secret = secrets.get(public_key)
            return _condition(details) if secret is None else _sign(message, secret)
        case ZenroomDetails():
            contract = next(contracts, None)
            if contract is None:
                raise ValueError("fewer contracts than the condition has places for")
            return contract
        case ThresholdDetails(threshold=threshold, subconditions=subconditions):
            return _choose(threshold, [_fulfill(item, message, secrets, contracts) for item in subconditions])


def _choose(threshold: int, parts: Sequence[Fulfillment | Condition]) -> Fulfillment | Condition:
    given = [item for item in parts if not isinstance(item, Condition)]
    conditions = [item for item in parts if isinstance(item, Condition)]
    if len(given) < threshold:
        return threshold_condition(threshold, [*map(fulfillment_condition, given), *conditions])
    by_cost = sorted(given, key=lambda item: fulfillment_condition(item).cost)
    rest = [*map(fulfillment_condition, by_cost[threshold:]), *conditions]
    return ThresholdFulfillment(tuple(by_cost[:threshold]), tuple(rest))


def _condition(details: Ed25519Details) -> Condition:
    condition = derive_condition(details)
    if condition is None:
        raise InvariantViolated("only contracts keep their condition to themselves")
    return condition


def _sign(message: bytes, secret: bytes) -> Ed25519Fulfillment:
    return Ed25519Fulfillment(secret[32:], crypto_sign(message, secret)[:crypto_sign_BYTES])
