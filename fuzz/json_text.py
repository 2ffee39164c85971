# SPDX-License-Identifier: AGPL-3.0-or-later
"""Any bytes are refused with SchemaValidationError, or have one canonical form that means what they mean.

The second opinion is the standard library's parser: same types, same numbers to the last bit, same strings.
"""

import json as plain_json
import random
import sys

from fuzz.engine import Fuzzer, changed, main
from planetmint.model import json
from planetmint.model.errors import SchemaValidationError

DEPTH, DIGITS = 40, 60

CORPUS = [
    b'{"a":1,"b":[true,false,null,"x"],"c":{"d":-0.0}}',
    b"[1e22,1E-7,0.1,123456789012345678901234567890,-5,5e-324,1.7976931348623157e308]",
    b'{"\\ud83d\\ude00":"\\u0000\\u001f\\n\\"\\\\\\/","\xf0\x9f\x98\x80":"\xc3\xa9\xe2\x80\xa8"}',
    b'"' + b"ab\\\\" * 20 + b'"',
    b"[" * 38 + b"]" * 38,
    b' { "a" : [ 1 , 2 ] } ',
    b"0.30000000000000004",
    b"9007199254740993.0",
    b"2.2250738585072011e-308",
]
WORDS = [
    *(bytes([character]) for character in b'{}[]",:\\ \t\r\n-+.eE0123456789u/'),
    b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity", b"\\u", b"\\ud800", b"\\udc00", b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"1e999", b"1e-999", b"0" * 30, b"9" * 61, b"[" * 41, b'{"a":' * 41,
    b"\\u0000", b"//", b"/*", b"e+", b"0x", b'"language":', b"4.35", b"1e23", b"8.5e307", b"0.1e1",
]  # fmt: skip


def try_text(data: bytes) -> bool:
    try:
        value = json.parse(data, max_depth=DEPTH, max_digits=DIGITS)
        canonical = json.canonical(value)
    except SchemaValidationError as error:
        assert error.rule.startswith("json."), error.rule
        assert len(error.reason) < 500
        return False
    assert json.canonical(json.parse(canonical, max_depth=DEPTH, max_digits=400)) == canonical
    second = plain_json.loads(data.decode("utf-8"), parse_constant=_refuse)
    assert same(value, second), (value, second)
    return True


def same(one: object, other: object) -> bool:
    """Equal in value and type, to the last bit of a float."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def _refuse(constant: str) -> object:
    raise AssertionError(f"{constant} was accepted")


def make(rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return number(rng)
    return changed(rng, CORPUS, WORDS)


def number(rng: random.Random) -> bytes:
    """A literal of random digits, most of them with a fraction and an exponent."""
    digits = "".join(rng.choices("0123456789", k=rng.randint(1, 25))).lstrip("0") or "0"
    fraction = "." + "".join(rng.choices("0123456789", k=rng.randint(1, 25))) if rng.random() < 0.7 else ""
    exponent = f"{rng.choice('eE')}{rng.choice(('', '+', '-'))}{rng.randint(0, 330)}" if rng.random() < 0.7 else ""
    return f"{rng.choice(('', '-'))}{digits}{fraction}{exponent}".encode()


FUZZER = Fuzzer("json_text", try_text, make)

if __name__ == "__main__":
    sys.exit(main(FUZZER))
