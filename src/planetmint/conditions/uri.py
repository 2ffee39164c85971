# SPDX-License-Identifier: AGPL-3.0-or-later
"""Condition URIs (``ni:///sha-256;...``): written from conditions, recognised and read.

Every URI that the node writes is in one fixed spelling, so that equal conditions have equal text. What it
recognises is wider: the pattern of the published schemas, with a list of subtypes. Source: transactions 2.3
and 5.2.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

from planetmint.conditions.base64url import decode_base64url, encode_base64url
from planetmint.conditions.derive import (
    derive_condition,
    ed25519_contents,
    fulfillment_condition,
    undisclosed_condition,
)
from planetmint.conditions.types import ED25519, LEAF_COST, LEAF_TYPES, MAX_COST, THRESHOLD, TYPE_IDS, TYPE_NAMES
from planetmint.model.condition import Condition, Details, Ed25519Details, Ed25519Fulfillment, Fulfillment
from planetmint.model.keys import decode_public_key

_CACHED_URIS = 16_384
_NAME = r"(?:ed25519|threshold|zenroom)-sha-256"
_PATTERN = re.compile(
    rf"ni:///sha-256;[A-Za-z0-9_-]{{0,86}}[?](?:fpt={_NAME}&?|cost=[0-9]+&?|subtypes={_NAME}(?:,{_NAME})*&?){{2,3}}"
)
_FIXED_SPELLING = re.compile(
    rf"ni:///sha-256;([A-Za-z0-9_-]{{43}})[?]fpt=({_NAME})&cost=([0-9]{{1,10}})(?:&subtypes=({_NAME}(?:,{_NAME})*))?"
)


def condition_uri(condition: Condition) -> str:
    """The URI of a condition in its one fixed spelling."""
    uri = (
        f"ni:///sha-256;{encode_base64url(condition.fingerprint)}"
        f"?fpt={TYPE_NAMES[condition.type_id]}&cost={condition.cost}"
    )
    if condition.type_id != THRESHOLD:
        return uri
    return f"{uri}&subtypes={','.join(sorted(TYPE_NAMES[type_id] for type_id in condition.subtypes))}"


def details_uri(details: Details, scripts: Sequence[str] = ()) -> str | None:
    """The URI that `details` derive to; None where a zenroom leaf makes that impossible.

    Args:
        details: Any tree.
        scripts: The contracts of all its zenroom leaves, see `derive_condition`.

    Raises:
        ValueError: There are scripts, and not one for each zenroom leaf.
    """
    if isinstance(details, Ed25519Details) and not scripts:
        key = decode_public_key(details.public_key)
        if key is not None:
            return _ed25519_uri(key)
    condition = derive_condition(details, scripts)
    return None if condition is None else condition_uri(condition)


def may_commit(details: Details, uri: str) -> bool:
    """Whether `uri` may be that of `details` over contracts that they do not tell: all but the fingerprint fits.

    The URI is then what such an output is really locked by. In the fixed spelling, with type, cost and subtypes as
    they follow from the tree, it can only be met by a fulfillment in which a contract occurs.
    """
    found, true = parse_condition_uri(uri), undisclosed_condition(details)
    return found is not None and found == replace(true, fingerprint=found.fingerprint)


def fulfillment_uri(fulfillment: Fulfillment) -> str:
    """The URI that an output must carry for `fulfillment` to fit it."""
    if isinstance(fulfillment, Ed25519Fulfillment):
        return _ed25519_uri(fulfillment.public_key)
    return condition_uri(fulfillment_condition(fulfillment))


def is_condition_uri(text: str) -> bool:
    """Whether `text` has the shape that schemas ask of a condition URI; it may still belong to no condition."""
    return _PATTERN.fullmatch(text) is not None


def parse_condition_uri(text: str) -> Condition | None:
    """The condition that `text` is the URI of; None for any text that `condition_uri` never writes."""
    match = _FIXED_SPELLING.fullmatch(text)
    if match is None:
        return None
    fingerprint, name, cost, subtypes = match.groups()
    raw = decode_base64url(fingerprint)
    if raw is None or int(cost) > MAX_COST:
        return None
    type_ids = frozenset(TYPE_IDS[subtype] for subtype in subtypes.split(",")) if subtypes else frozenset[int]()
    condition = Condition(TYPE_IDS[name], raw, int(cost), type_ids)
    return condition if _is_sound(condition) and condition_uri(condition) == text else None


def _is_sound(condition: Condition) -> bool:
    """Whether cost and subtypes are possible for the type: a threshold stands over leaves, a leaf over nothing."""
    if condition.type_id == THRESHOLD:
        return bool(condition.subtypes) and condition.subtypes <= LEAF_TYPES
    return not condition.subtypes and condition.cost == LEAF_COST


@lru_cache(maxsize=_CACHED_URIS)
def _ed25519_uri(key: bytes) -> str:
    return condition_uri(Condition(ED25519, sha256(ed25519_contents(key)).digest(), LEAF_COST))
