# SPDX-License-Identifier: AGPL-3.0-or-later
"""Signed CREATE transactions for load, made without any code of the node.

Each transaction has its own key and its own content, all derived from its index, so that a file made
once serves every run. The canonical text is about 800 bytes long, of version "2.0".
"""

import base64
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import base58
import rapidjson
from nacl.signing import SigningKey

Progress = Callable[[int, int], None]
"""Told how many units are done and how many there are."""

_FORMAT = 2
"""Raise it when the content below changes, so that older files are made again."""
_CHUNK = 500
_SHORTEST_KEY = 43
_WORD_TEXT = """
amber anchor apple arrow autumn barley beacon birch bridge bronze canyon cedar cello circle cobalt
copper coral cotton crane crystal dawn delta eagle ember falcon fern flint forest garden glacier
granite harbor hazel heron indigo island ivory jasper kettle lagoon lantern laurel lemon linen maple
marble meadow mirror nectar oak ocean olive opal orchard otter pebble pepper pine plum prairie
quartz raven reed river saffron sage silver sparrow spruce summit thistle thunder timber topaz tulip
valley velvet violet walnut willow
"""
_WORDS = _WORD_TEXT.split()


def canonical(value: object) -> bytes:
    """The canonical text of a JSON value in UTF-8. Source: spec transactions 4.1."""
    return rapidjson.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def signing_key(index: int) -> SigningKey:
    """The key that owns transaction `index`.

    Of the few keys whose text has less than 43 characters, which nodes refuse, the next one is taken.
    Source: spec transactions 2.3.
    """
    seed = hashlib.sha256(b"bench owner %d" % index).digest()
    while len(base58.b58encode(bytes((key := SigningKey(seed)).verify_key))) < _SHORTEST_KEY:
        seed = hashlib.sha256(seed).digest()
    return key


def public_key(index: int) -> str:
    """The base58 public key that owns the output of transaction `index`."""
    return base58.b58encode(bytes(signing_key(index).verify_key)).decode()


def condition_uri(key: bytes) -> str:
    """The URI of the condition "signed by this Ed25519 key" (32 bytes). Source: spec transactions 5.2."""
    fingerprint = hashlib.sha256(b"\x30\x22\x80\x20" + key).digest()
    return f"ni:///sha-256;{_base64url(fingerprint)}?fpt=ed25519-sha-256&cost=131072"


def fulfillment(key: bytes, signature: bytes) -> str:
    """The text that proves such a condition. Source: spec transactions 5.3."""
    return _base64url(b"\xa4\x64\x80\x20" + key + b"\x81\x40" + signature)


def signed_create(key: SigningKey, data: object, metadata: object) -> bytes:
    """A CREATE of one unit of a new asset, to and from the owner of `key`, as canonical text."""
    owner = bytes(key.verify_key)
    name = base58.b58encode(owner).decode()
    first_input: dict[str, object] = {"fulfillment": None, "fulfills": None, "owners_before": [name]}
    transaction: dict[str, object] = {
        "asset": {"data": data},
        "id": None,
        "inputs": [first_input],
        "metadata": metadata,
        "operation": "CREATE",
        "outputs": [
            {
                "amount": "1",
                "condition": {
                    "details": {"public_key": name, "type": "ed25519-sha-256"},
                    "uri": condition_uri(owner),
                },
                "public_keys": [name],
            }
        ],
        "version": "2.0",
    }
    message = hashlib.sha3_256(canonical(transaction)).digest()
    first_input["fulfillment"] = fulfillment(owner, key.sign(message).signature)
    transaction["id"] = hashlib.sha3_256(canonical(transaction)).hexdigest()
    return canonical(transaction)


def create(index: int) -> bytes:
    """Transaction `index` of the load: a small reading of a device, about 800 bytes in all."""
    seed = hashlib.sha256(b"bench content %d" % index).digest()
    note = " ".join(_WORDS[byte % len(_WORDS)] for byte in seed[:8])
    data = {"device": seed[8:16].hex(), "note": note, "sequence": index}
    metadata = {"celsius": seed[16] / 4, "place": _WORDS[seed[17] % len(_WORDS)]}
    return signed_create(signing_key(index), data, metadata)


def cached_file(count: int, cache: Path, progress: Progress) -> Path:
    """A file of transactions 0 to `count` or more, one a line, made on every core at the first call."""
    for path in sorted(cache.glob(f"create-v{_FORMAT}-*.ndjson")):
        if int(path.stem.rsplit("-", 1)[1]) >= count:
            return path
    return write_file(cache / f"create-v{_FORMAT}-{count:09}.ndjson", 0, count, progress)


def write_file(path: Path, first: int, count: int, progress: Progress) -> Path:
    """Make a file of `count` transactions from index `first` on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        for done, lines in _chunks(first, count):
            file.write(lines)
            progress(done, count)
    partial.rename(path)
    return path


def read_transactions(path: Path, skip: int, count: int) -> list[bytes]:
    """Lines `skip` to `skip + count` of a transaction file, without their line ends."""
    with path.open("rb") as file:
        for _ in range(skip):
            file.readline()
        found = [line.rstrip(b"\n") for _, line in zip(range(count), file, strict=False)]
    if len(found) < count:
        raise ValueError(f"{path} has only {skip + len(found)} transactions, {skip + count} are needed")
    return found


def transaction_id(text: bytes) -> str:
    """The id of a transaction in canonical form, whose inputs follow on it."""
    end = text.index(b'","inputs":[')
    return text[end - 64 : end].decode()


def _chunks(first: int, count: int) -> Iterator[tuple[int, bytes]]:
    spans = [(at, min(at + _CHUNK, first + count)) for at in range(first, first + count, _CHUNK)]
    with multiprocessing.Pool() as pool:
        for span, lines in zip(spans, pool.imap(_span, spans), strict=True):
            yield span[1] - first, lines


def _span(span: tuple[int, int]) -> bytes:
    return b"".join(create(index) + b"\n" for index in range(*span))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
