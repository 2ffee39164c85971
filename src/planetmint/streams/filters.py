# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which transactions a subscriber wants: values of one property are alternatives, properties must all match.

A filter is read once from the query string and is then a frozen value. Source: EX-1 to EX-5.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planetmint.model.block import TransactionEvent
from planetmint.model.keys import decode_public_key
from planetmint.model.transaction import Operation
from planetmint.streams.errors import BadParameter

MAX_VALUES = 1_000
"""Filter values that one connection may have in all."""

_HASH = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)

Values = frozenset[str]


@dataclass(frozen=True, slots=True)
class Filter:
    """A set of wanted values per property; None where the property does not matter."""

    public_keys: Values | None = None
    signers: Values | None = None
    asset_ids: Values | None = None
    operations: Values | None = None
    transaction_ids: Values | None = None

    @property
    def open(self) -> bool:
        """Whether every transaction matches."""
        return self == EVERYTHING

    @property
    def key(self) -> str:
        """Text that is equal for equal filters."""
        return ";".join(
            "*" if values is None else ",".join(sorted(values))
            for values in (
                self.public_keys,
                self.signers,
                self.asset_ids,
                self.operations,
                self.transaction_ids,
            )
        )

    def matches(self, event: TransactionEvent) -> bool:
        """Whether a transaction is wanted."""
        return (
            (self.transaction_ids is None or event.transaction_id in self.transaction_ids)
            and (self.operations is None or event.operation in self.operations)
            and (self.asset_ids is None or not self.asset_ids.isdisjoint(event.asset_ids))
            and (self.public_keys is None or not self.public_keys.isdisjoint(event.public_keys))
            and (self.signers is None or not self.signers.isdisjoint(event.signers))
        )

    def may_match(self, terms: "Terms") -> bool:
        """False when no transaction among those that `terms` sums up can match."""
        return not (
            (self.transaction_ids is not None and self.transaction_ids.isdisjoint(terms.transaction_ids))
            or (self.operations is not None and self.operations.isdisjoint(terms.operations))
            or (self.asset_ids is not None and self.asset_ids.isdisjoint(terms.asset_ids))
            or (self.public_keys is not None and self.public_keys.isdisjoint(terms.public_keys))
            or (self.signers is not None and self.signers.isdisjoint(terms.signers))
        )


EVERYTHING = Filter()


class Terms(NamedTuple):
    """Every value that occurs in some transactions: tells quickly that a filter matches none of them."""

    public_keys: Values
    signers: Values
    asset_ids: Values
    operations: Values
    transaction_ids: Values

    @classmethod
    def of(cls, events: Sequence[TransactionEvent]) -> "Terms":
        """Sum up `events`."""
        return cls(
            public_keys=frozenset(key for event in events for key in event.public_keys),
            signers=frozenset(key for event in events for key in event.signers),
            asset_ids=frozenset(asset for event in events for asset in event.asset_ids),
            operations=frozenset(event.operation for event in events),
            transaction_ids=frozenset(event.transaction_id for event in events),
        )


def _public_key(text: str) -> str:
    if decode_public_key(text) is None:
        raise ValueError("must be a base58 ed25519 public key")
    return text


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("must be 64 hex digits")
    return text.lower()


def _operation(text: str) -> str:
    try:
        return Operation(text.upper())
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Operation)}") from None


_PARAMETERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "public_key": ("public_keys", _public_key),
    "owner_before": ("signers", _public_key),
    "asset_id": ("asset_ids", _hash),
    "asset_ids": ("asset_ids", _hash),
    "operation": ("operations", _operation),
    "transaction_id": ("transaction_ids", _hash),
}
"""Query parameter to the property of `Filter` and the reader of one value."""

FILTER_PARAMETERS = tuple(_PARAMETERS)


def parse_filter(pairs: Iterable[tuple[str, str]]) -> Filter:
    """Read the filter parameters among `pairs`; others are passed over.

    Args:
        pairs: Decoded parameters in query order. A value may hold several, separated by commas.

    Raises:
        BadParameter: A value is ill-formed, or there are more than `MAX_VALUES`.
    """
    wanted: dict[str, set[str]] = {}
    count = 0
    for name, text in pairs:
        if name not in _PARAMETERS:
            continue
        field, read = _PARAMETERS[name]
        for value in text.split(","):
            count += 1
            if count > MAX_VALUES:
                raise BadParameter(name, f"at most {MAX_VALUES} values in all")
            try:
                wanted.setdefault(field, set()).add(read(value.strip(" ")))
            except ValueError as error:
                raise BadParameter(name, str(error)) from None
    return Filter(**{field: frozenset(values) for field, values in wanted.items()})
