# SPDX-License-Identifier: AGPL-3.0-or-later
"""Elections as the ledger remembers them, and the record of a chain's name.

Source: elections-and-operations 1 and 3, validation 4.4 and 4.5.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planetmint.model.errors import InvalidPublicKey, InvariantViolated
from planetmint.model.keys import KEY_BYTES, decode_public_key, encode_public_key
from planetmint.model.transaction import Asset, Operation
from planetmint.model.validator import Validator

ELECTIONS = frozenset({Operation.VALIDATOR_ELECTION, Operation.CHAIN_MIGRATION_ELECTION})
"""Operations that open an election."""

MAX_CHAIN_ID = 50
"""Characters that the engine allows in a chain's name."""

MIGRATION_SUFFIX = "-migrated-at-height-"
"""Stands in a chain's name before the height after which it went on under that name."""


@dataclass(frozen=True, slots=True)
class ElectionRecord:
    """What the ledger knows of one election; each block that changes it stores it anew.

    Attributes:
        election_id: Id of the election transaction, 64 lower-case hex digits.
        operation: VALIDATOR_ELECTION or CHAIN_MIGRATION_ELECTION.
        height: Of the block that holds the election.
        total: Power of all its voters: the sum of its outputs' amounts.
        votes: Power that committed VOTE transactions gave to the election's address so far.
        change: What a validator election wants: a key and its new power, 0 to remove it; None for a migration.
        concluded_at: Height of the block that concluded it; None while none has.
    """

    election_id: str
    operation: Operation
    height: int
    total: int
    votes: int = 0
    change: Validator | None = None
    concluded_at: int | None = None


@dataclass(frozen=True, slots=True)
class ChainRecord:
    """The name under which the engine knows the chain at present, and how engine heights become ours.

    Attributes:
        chain_id: At most 50 characters.
        shift: Height of a block here = the engine's height + `shift`; 0 until the first migration.
        synced: False from the conclusion of a migration until an engine began the chain of this name.
    """

    chain_id: str
    shift: int = 0
    synced: bool = True


_Coder = Callable[[bytes], bytes]
_ENCODINGS: Mapping[str, tuple[_Coder, _Coder]] = {
    "ed25519-base16": (base64.b16decode, base64.b16encode),
    "ed25519-base32": (base64.b32decode, base64.b32encode),
    "ed25519-base64": (base64.b64decode, base64.b64encode),
}

KEY_TYPES = tuple(_ENCODINGS)
"""How the key of a candidate may be written (transactions 3)."""


def candidate(asset: Asset) -> Validator:
    """What a validator election asks for: a key and its new power, 0 to remove it.

    Args:
        asset: Of the election, its form already checked.

    Raises:
        InvalidPublicKey: See `decode_candidate`.
    """
    match asset.data:
        case {"public_key": {"type": str(kind), "value": str(value)}, "power": int(power)}:
            return Validator(decode_candidate(kind, value), power)
        case _:
            raise InvariantViolated("the form of a validator election was not checked")


def decode_candidate(kind: str, value: str) -> bytes:
    """The key of a validator election's candidate, 32 bytes.

    Only the one spelling that the encoding itself gives is taken: no lower-case hex, no blanks, all the padding.

    Args:
        kind: One of `KEY_TYPES`.
        value: As it stands in the election.

    Raises:
        InvalidPublicKey: It cannot be read, has another length, or no output could list it: as a validator it
            would end all elections for good.

    Source: validation 3.1 and 3.3, transactions 2.3.
    """
    decode, encode = _ENCODINGS[kind]
    try:
        raw = decode(value.encode("ascii"))
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if encode(raw).decode("ascii") != value or not value:
        raise InvalidPublicKey(
            "Invalid `type` specified for public key `value`", rule="election.key_encoding", field="asset"
        )
    if len(raw) != KEY_BYTES:
        raise InvalidPublicKey(
            f"Public key should be of size {KEY_BYTES} bytes", rule="election.key_size", field="asset"
        )
    if decode_public_key(encode_public_key(raw)) is None:
        raise InvalidPublicKey("no output can list this public key", rule="election.key_text", field="asset")
    return raw


def election_address(election_id: str) -> str:
    """Where votes go: base58 of the 32 bytes of the election's id, in the form of a public key."""
    return encode_public_key(bytes.fromhex(election_id))
