# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's genesis file: what all nodes of a chain begin with, read and written in the engine's own form.

The chain's parameters stand in `app_state`, so that every node executes by the same ones. The engine refuses
members that it does not know elsewhere. Source: consensus-and-storage 8, elections-and-operations 4 and 6.
"""

import base64
import binascii
import json
import re
from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import gmtime, strftime, strptime
from typing import cast

from planetmint.chain import UnknownRules
from planetmint.chain.founding import check_parameters
from planetmint.consensus.cometbft.genesis import Genesis, read_app_state
from planetmint.model.json import JsonValue
from planetmint.model.validator import MAX_TOTAL_POWER, Validator, ValidatorSet
from planetmint.ports.errors import ChainMismatch
from planetmint.runtime.files import write_whole
from planetmint.runtime.settings import ConfigurationError

PUBLIC_KEY_TYPE = "tendermint/PubKeyEd25519"
"""How the engine's files call an Ed25519 key."""

MAX_BLOCK_BYTES = 4_194_304
"""Longest block of a new chain: some 6,000 small transactions, passed on by small machines in under a second."""

MAX_FILE_BYTES = 64_000_000

_ADDRESS_BYTES = 20
_KEY_BYTES = 32
_SECOND = 1_000_000_000
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class GenesisFile:
    """What a genesis file says.

    Attributes:
        chain_id: 1 to 50 characters.
        time: Nanoseconds since 1970-01-01T00:00:00Z.
        validators: The first set, in the order of the file.
        app: The application's part: parameters and, after a migration, what the chain goes on from.
        app_hash: Upper-case hex, for people: the engine asks the application. Empty for a chain that begins.
        consensus: The engine's own parameters, which all nodes must share; None: those of new chains.
    """

    chain_id: str
    time: int
    validators: ValidatorSet
    app: Genesis
    app_hash: str = field(default="", compare=False)
    consensus: JsonObject | None = field(default=None, compare=False)

    def to_json(self) -> JsonObject:
        """The whole document, as the engine reads it."""
        return {
            "genesis_time": format_time(self.time),
            "chain_id": self.chain_id,
            "initial_height": "1",
            "consensus_params": self.consensus or _consensus_params(),
            "validators": [_validator_to_json(one) for one in self.validators],
            "app_hash": self.app_hash,
            "app_state": cast(JsonValue, self.app.to_json()),
        }

    def to_text(self) -> str:
        """The document as it stands in the file."""
        return json.dumps(self.to_json(), indent=2) + "\n"


def read_genesis(path: Path) -> GenesisFile:
    """Read a genesis file.

    Raises:
        ConfigurationError: It is missing, no genesis file, or one of a chain that this node cannot follow.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot read the genesis file {path} ({error.strerror})") from None
    return parse_genesis(text, str(path))


def parse_genesis(text: bytes, place: str) -> GenesisFile:
    """As `read_genesis` for the bytes of a file; `place` names it in messages."""
    try:
        document = json.loads(text)
        chain_id = document["chain_id"]
        if not isinstance(chain_id, str) or not 1 <= len(chain_id) <= 50:
            raise ValueError("chain_id must have 1 to 50 characters")
        validators = tuple(_validator_from_json(item) for item in document.get("validators") or ())
        check_validators(validators)
        app = read_app_state(json.dumps(document.get("app_state", {})).encode())
        check_parameters(app.parameters)
        consensus, app_hash = document.get("consensus_params"), document.get("app_hash")
        return GenesisFile(
            chain_id,
            parse_time(document["genesis_time"]),
            validators,
            app,
            app_hash=app_hash if isinstance(app_hash, str) else "",
            consensus=consensus if isinstance(consensus, dict) else None,
        )
    except (UnknownRules, ChainMismatch) as error:
        raise ConfigurationError(f"{place}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigurationError(f"{place} is no genesis file of the engine: {reason}") from None


def write_genesis(path: Path, genesis: GenesisFile) -> None:
    """Write a genesis file whole or not at all. Raises OSError."""
    write_whole(path, genesis.to_text())


def check_validators(validators: Sequence[Validator]) -> None:
    """Raises ValueError for a set that the engine would not take."""
    if not validators:
        raise ValueError("a chain needs at least one validator")
    if len({one.public_key for one in validators}) != len(validators):
        raise ValueError("a validator stands there twice")
    if any(one.power < 1 for one in validators) or sum(one.power for one in validators) > MAX_TOTAL_POWER:
        raise ValueError(f"powers must be 1 or more, and {MAX_TOTAL_POWER} together at most")


def validator_address(public_key: bytes) -> str:
    """The engine's name of a validator: 40 upper-case hex digits (elections-and-operations 6)."""
    return sha256(public_key).digest()[:_ADDRESS_BYTES].hex().upper()


def read_public_key(text: str) -> bytes:
    """The 32 bytes of a key in base64. Raises ValueError."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(f"`{text}` is no Ed25519 public key in base64")
    return key


def format_time(time: int) -> str:
    """Nanoseconds as the engine's files show them: `2026-01-02T03:04:05.678Z`."""
    seconds, rest = divmod(time, _SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)) + fraction + "Z"


def parse_time(text: str) -> int:
    """What `format_time` wrote, in nanoseconds. Raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no time in UTC like 2026-01-02T03:04:05Z")
    seconds = timegm(strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    return seconds * _SECOND + int((found[2] or "0").ljust(9, "0"))


def _consensus_params() -> JsonObject:
    """The engine's own, with blocks that a network of small machines passes on quickly."""
    return {
        "block": {"max_bytes": str(MAX_BLOCK_BYTES), "max_gas": "-1"},
        "evidence": {
            "max_age_num_blocks": "100000",
            "max_age_duration": str(48 * 3600 * _SECOND),
            "max_bytes": "1048576",
        },
        "validator": {"pub_key_types": ["ed25519"]},
        "version": {"app": "0"},
        "abci": {"vote_extensions_enable_height": "0"},
    }


def _validator_to_json(validator: Validator) -> JsonObject:
    key = base64.b64encode(validator.public_key).decode()
    return {
        "address": validator_address(validator.public_key),
        "pub_key": {"type": PUBLIC_KEY_TYPE, "value": key},
        "power": str(validator.power),
        "name": "",
    }


def _validator_from_json(value: JsonObject) -> Validator:
    key = cast(JsonObject, value["pub_key"])
    if key["type"] != PUBLIC_KEY_TYPE:
        raise ValueError(f"validators have keys of the type {PUBLIC_KEY_TYPE} here")
    return Validator(read_public_key(str(key["value"])), int(cast(str, value["power"])))
