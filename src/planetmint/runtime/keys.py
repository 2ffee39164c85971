# SPDX-License-Identifier: AGPL-3.0-or-later
"""The validator's key, kept in the data folder in the engine's own file format (decision D19).

A later promotion to CometBFT reuses the file as it is. Source: elections-and-operations 5 and 6.
"""

import base64
import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.runtime.settings import ConfigurationError

KEY_FILE = "priv_validator_key.json"
"""Name of the file in the data folder."""

_SEED_BYTES = 32
_SECRET_BYTES = 64
_ADDRESS_BYTES = 20


@dataclass(frozen=True, slots=True)
class ValidatorKey:
    """An Ed25519 key: `secret` is 64 bytes (seed and public key), `public` its last 32."""

    secret: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self.secret[_SEED_BYTES:]


def load_key(folder: Path) -> ValidatorKey:
    """The key that a chain in this data folder was founded with.

    Raises:
        ConfigurationError: The file is missing or holds no such key.
        OSError: It cannot be read.
    """
    path = folder / KEY_FILE
    if not path.exists():
        raise ConfigurationError(
            f"{path} is missing, but the database holds a chain that was founded with it: put it back from a "
            "backup (a new key cannot go on with this chain)"
        )
    return _read_key(path)


def load_or_make_key(folder: Path) -> ValidatorKey:
    """The key of this data folder; made at the first call.

    Raises:
        ConfigurationError: The file is there but holds no such key.
        OSError: It cannot be read or written.
    """
    path = folder / KEY_FILE
    if path.exists():
        return _read_key(path)
    _, secret = crypto_sign_seed_keypair(os.urandom(_SEED_BYTES))
    key = ValidatorKey(secret)
    _write_key(path, key)
    return key


def _read_key(path: Path) -> ValidatorKey:
    try:
        secret = base64.b64decode(json.loads(path.read_bytes())["priv_key"]["value"], validate=True)
    except (ValueError, KeyError, TypeError):
        secret = b""
    if len(secret) != _SECRET_BYTES or crypto_sign_seed_keypair(secret[:_SEED_BYTES])[1] != secret:
        raise ConfigurationError(
            f"{path} holds no validator key: put the right file back from a backup (a new key cannot go on with "
            "this chain)"
        )
    return ValidatorKey(secret)


def _write_key(path: Path, key: ValidatorKey) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    document = {
        "address": sha256(key.public).hexdigest()[: 2 * _ADDRESS_BYTES].upper(),
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(key.public).decode()},
        "priv_key": {"type": "tendermint/PrivKeyEd25519", "value": base64.b64encode(key.secret).decode()},
    }
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
