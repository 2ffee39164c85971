# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fulfillments made from secret keys, for clients, tools and tests; the node itself never signs for owners."""

from collections.abc import Sequence

from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair

from planetmint.conditions.derive import derive_condition, fulfillment_condition
from planetmint.model.condition import (
    Condition,
    Details,
    Ed25519Details,
    Ed25519Fulfillment,
    Fulfillment,
    ThresholdDetails,
    ThresholdFulfillment,
    ZenroomDetails,
)
from planetmint.model.keys import encode_public_key


def fulfill(details: Details, message: bytes, secret_seeds: Sequence[bytes]) -> Fulfillment:
    """Sign `message` with the keys of `secret_seeds` (32 bytes each) so that `details` are fulfilled.

    Where more subconditions could be signed than a threshold needs, the cheapest are kept, earlier ones first
    among equals; the rest become conditions, as the published libraries do it (transactions 5.3).

    Raises:
        ValueError: The keys do not suffice, or a contract would have to be fulfilled.
    """
    pairs = (crypto_sign_seed_keypair(seed) for seed in secret_seeds)
    secrets = {encode_public_key(public): secret for public, secret in pairs}
    fulfillment = _fulfill(details, message, secrets)
    if fulfillment is None:
        raise ValueError("the keys do not suffice to fulfil the condition")
    return fulfillment


def _fulfill(details: Details, message: bytes, secrets: dict[str, bytes]) -> Fulfillment | None:
    """The fulfillment that `secrets` (base58 key to secret key) allow, or None."""
    match details:
        case Ed25519Details(public_key=public_key):
            secret = secrets.get(public_key)
            return None if secret is None else _sign(message, secret)
        case ZenroomDetails():
            return None
        case ThresholdDetails(threshold=threshold, subconditions=subconditions):
            tried = [(item, _fulfill(item, message, secrets)) for item in subconditions]
            return _choose(threshold, tried)


def _choose(threshold: int, tried: Sequence[tuple[Details, Fulfillment | None]]) -> Fulfillment | None:
    given = [item for _, item in tried if item is not None]
    if len(given) < threshold:
        return None
    by_cost = sorted(given, key=lambda item: fulfillment_condition(item).cost)
    rest = [
        *map(fulfillment_condition, by_cost[threshold:]),
        *(_known(item) for item, done in tried if done is None),
    ]
    return ThresholdFulfillment(tuple(by_cost[:threshold]), tuple(rest))


def _known(details: Details) -> Condition:
    condition = derive_condition(details)
    if condition is None:
        raise ValueError("the fingerprint of a contract is not known from its details")
    return condition


def _sign(message: bytes, secret: bytes) -> Ed25519Fulfillment:
    return Ed25519Fulfillment(secret[32:], crypto_sign(message, secret)[:crypto_sign_BYTES])
