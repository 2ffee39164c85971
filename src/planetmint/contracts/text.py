# SPDX-License-Identifier: AGPL-3.0-or-later
"""The JSON texts that the engine is given, and the seed of its random numbers.

Every node derives the same texts and the same seed from a transaction, so that the engine answers alike
everywhere. Source: transactions 5.4 and 6.
"""

from hashlib import sha3_512

from planetmint.model import json
from planetmint.model.json import JsonValue

_SEED_TAG = b"planetmint contract 1"
_LENGTH_BYTES = 8


def engine_json(value: JsonValue) -> str:
    """`value` as ASCII JSON with sorted names, spelled as the published packages spell it.

    Raises:
        ValueError: A number that JSON cannot write.
    """
    return json.spaced(value)


def seed(script: str, data: str, keys: str | None) -> bytes:
    """64 bytes that depend on what the sender wrote, and on nothing else.

    Args:
        script: Zencode.
        data: JSON text, without what the node adds to it.
        keys: JSON text; None where none are given, which is not the same as an empty one.
    """
    digest = sha3_512(_SEED_TAG)
    for part in (
        (script.encode(), data.encode()) if keys is None else (script.encode(), data.encode(), keys.encode())
    ):
        digest.update(len(part).to_bytes(_LENGTH_BYTES, "big"))
        digest.update(part)
    return digest.digest()
