# SPDX-License-Identifier: AGPL-3.0-or-later
"""Values of crypto-conditions: what an output asks for, and what an input shows.

`Details` is the readable tree in an output, `Condition` its fingerprint form, `Fulfillment` the tree of
signatures in an input. Reading, deriving and evaluating them is the work of `planetmint.conditions`.
Source: transactions 5.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Ed25519Details:
    """One key. `public_key` is base58 text of 32 bytes, already checked."""

    public_key: str


@dataclass(frozen=True, slots=True)
class ThresholdDetails:
    """At least `threshold` of `subconditions`; 1 <= threshold <= len(subconditions)."""

    threshold: int
    subconditions: tuple["Details", ...]


@dataclass(frozen=True, slots=True)
class ZenroomDetails:
    """A contract; its text is known only by its fingerprint in the URI. `public_key` is base58 text."""

    public_key: str


Details: TypeAlias = Ed25519Details | ThresholdDetails | ZenroomDetails


@dataclass(frozen=True, slots=True)
class Condition:
    """The fingerprint form of a condition.

    Attributes:
        type_id: 0 to 5, see transactions 5.1.
        fingerprint: 32 bytes, SHA-256 of the fingerprint content.
        cost: As transactions 5.1 defines it.
        subtypes: Type ids of all conditions below, own type left out; empty for simple types.
    """

    type_id: int
    fingerprint: bytes
    cost: int
    subtypes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Ed25519Fulfillment:
    """A key (32 bytes) and its signature (64 bytes)."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ThresholdFulfillment:
    """The fulfillments given (their number is the threshold) and the conditions of the rest, in DER order."""

    fulfillments: tuple["Fulfillment", ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class ZenroomFulfillment:
    """A contract's text, its data and its keys, as the octets of the fulfillment."""

    script: bytes
    data: bytes
    keys: bytes


Fulfillment: TypeAlias = Ed25519Fulfillment | ThresholdFulfillment | ZenroomFulfillment
