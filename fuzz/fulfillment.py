# SPDX-License-Identifier: AGPL-3.0-or-later
"""Any text is refused with InvalidSignature or ThresholdTooDeep, or is the one spelling of what was read."""

import hashlib
import random
import sys
from base64 import urlsafe_b64encode

from fuzz.engine import Fuzzer, changed, main
from planetmint.conditions import (
    decode_fulfillment,
    encode_fulfillment,
    fulfill,
    fulfillment_der,
    fulfillment_uri,
    has_zenroom,
    is_condition_uri,
    signers,
    verify_signatures,
)
from planetmint.model.condition import ThresholdFulfillment, ZenroomFulfillment
from planetmint.model.errors import InvalidSignature, ThresholdTooDeep
from planetmint.testing.build import all_of, details, m_of_n, seed

MESSAGE = hashlib.sha3_256(b"fuzz").digest()
OWNERS = [
    "a",
    all_of("a", "b"),
    m_of_n(2, "a", "b", "c"),
    m_of_n(1, "a", all_of("b", "c"), m_of_n(1, "d", "e")),
    all_of(all_of(all_of(all_of("a")))),
]
SIGNED = [fulfill(details(owner), MESSAGE, [seed(name) for name in "abcde"]) for owner in OWNERS]
CONTRACT = ZenroomFulfillment(b"Given nothing", b"null", b"null")
CORPUS = [fulfillment_der(item) for item in (*SIGNED, CONTRACT, ThresholdFulfillment((SIGNED[0], CONTRACT), ()))]
WORDS = [
    *(bytes([octet]) for octet in b"\xa0\xa1\xa2\xa4\xa5\x80\x81\x82\x83\x84\x30\x31\x00\xff"),
    b"\xa4\x64\x80\x20", b"\x81\x40", b"\x81\x03\x02\x00\x00", b"\x82\x02\x03\x08", b"\xa2\x80", b"\xa1\x00",
    b"\xa2\x84\x7f\xff\xff\xff", b"\x82\x01\x00",
]  # fmt: skip
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n%é\ud800"


def try_text(data: bytes) -> bool:
    text = data.decode("utf-8", "surrogatepass")
    try:
        fulfillment = decode_fulfillment(text, max_depth=5, max_leaves=12)
    except (InvalidSignature, ThresholdTooDeep):
        return False
    assert encode_fulfillment(fulfillment) == text
    contract = has_zenroom(fulfillment)
    assert is_condition_uri(fulfillment_uri(fulfillment)) or contract or not signers(fulfillment)
    verify_signatures(fulfillment, MESSAGE)
    return True


def make(rng: random.Random) -> bytes:
    der = rng.choice(CORPUS) if rng.random() < 0.1 else changed(rng, CORPUS, WORDS)
    text = urlsafe_b64encode(der).decode().rstrip("=")
    if rng.random() < 0.3 and text:
        place = rng.randrange(len(text))
        text = text[:place] + rng.choice(LETTERS) + text[place + rng.randrange(2) :]
    return text.encode("utf-8", "surrogatepass")


FUZZER = Fuzzer("fulfillment", try_text, make)

if __name__ == "__main__":
    sys.exit(main(FUZZER))
