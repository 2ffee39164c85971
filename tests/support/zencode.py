# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random contracts of statements that the engine really has, with arguments of every type, mostly the wrong one.

The statements are read from the engine's own library. What comes out is Zencode that gets somewhere: scenarios,
objects of all types, some objects that earlier statements made, and then what chance picks.
"""

import random
import re
from collections.abc import Mapping
from pathlib import Path

from planetmint.model.json import JsonObject

_STATEMENT = re.compile(rb"\b(Given|When|Then|IfWhen)\(\s*(?:\"([^\"\n]+)\"|'([^'\n\\]+)')")
_SCENARIOS = (
    *("bbs", "bitcoin", "credential", "dp3t", "ecdh", "eddsa", "ethereum", "http"),
    *("petition", "planetmint", "pvss", "reflow", "schnorr", "secshare", "w3c"),
)
_KEYS = ("bbs", "bitcoin", "credential", "ecdh", "eddsa", "ethereum", "issuer", "pvss", "reflow", "schnorr")
_REFUSED = frozenset({"dilithium", "kyber", "ntrup"})
_SIGNING = ("ecdh", "eddsa", "schnorr", "ethereum", "bbs")
_KINDS = {
    "word": "string",
    "digits": "string",
    "one": "number",
    "large": "number",
    "half": "float",
    "whole": "integer",
    "numbers": "number array",
    "words": "string array",
    "pairs": "string dictionary",
    "table": "number dictionary",
    "octets": "hex",
    "code": "base64",
    "text": "string",
    "address": "string",
    "object": "string",
}
DATA: JsonObject = {
    "word": "hello",
    "digits": "42",
    "one": 1,
    "large": 900,
    "half": 1.5,
    "whole": "7",
    "numbers": [1, 2, 3, 4, 5],
    "words": ["a", "b", "c", "1"],
    "pairs": {"a": "1", "b": "two", "c": ""},
    "table": {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 4}},
    "octets": "00ff" * 16,
    "code": "aGVsbG8gd29ybGQ=",
    "text": "x" * 2_000,
    "address": "a.b@c.example",
    "object": '{"a": [1, {"b": null}]}',
    "byte": "Aw==",
    "bytes": "AgE=",
    "stump": "A///////",
    "half_of_it": "AhERERERERERERERERERERERERER",
}
_MADE = (
    *(f"create the {key} public key" for key in _KEYS if key not in ("credential", "ethereum")),
    *(f"create the {key} signature of 'word'" for key in _SIGNING),
    "create the ethereum address",
    "create the bitcoin address",
    "create the ecdh deterministic signature of 'word'",
    "create the credential request",
    "create the hash of 'word'",
    "create the mpack of 'words'",
    "create the reflow identity of 'word'",
    "create the secret shares of 'word' with '5' quorum '3'",
    "create the json web token of 'words' using 'word'",
    "create the random object of '64' bytes",
    "create the array of '5' random objects",
    "create the new dictionary",
)
_LITERALS = (
    *("0", "1", "2", "5", "100", "-1", "1.5", "1e3", "a", "x.a", "pairs.a", "words.1", "nowhere"),
    *(
        "number",
        "string",
        "hex",
        "base64",
        "sha256",
        "sha512",
        "result",
        "array",
        "hash",
        "keyring",
        "copy",
        "size",
    ),
    *("secret_shares", "mpack", "random_object", "reflow_identity", "signature"),
)
_POINTS = (
    *("ecdh public key", "public key", "reflow identity", "reflow public key", "bbs public key", "bbs signature"),
    *("credential request", "issuer public key", "schnorr public key", "schnorr signature", "eddsa public key"),
    *("eddsa signature", "ecdh signature", "pvss public key", "ethereum public key", "bitcoin public key"),
)
"""Kinds of objects that have a length, which the engine does not always look at."""
_STUMPS = ("byte", "bytes", "stump", "half_of_it")
_OBJECTS = [
    *_KINDS,
    *(f"{key}_public_key" for key in _KEYS),
    *(f"{key}_signature" for key in _SIGNING),
]


class Zencode:
    """Makes contracts out of the statements of one engine.

    Args:
        library: The engine's shared library.
    """

    def __init__(self, library: Path) -> None:
        self._statements: dict[str, list[str]] = {}
        for section, one, other in _STATEMENT.findall(library.read_bytes()):
            said = (one or other).decode()
            if _REFUSED.isdisjoint(said.split()):
                self._statements.setdefault(section.decode(), []).append(said)
        assert len(self._statements["When"]) > 200, "the library does not hold its statements in plain text"

    @property
    def statements(self) -> Mapping[str, list[str]]:
        """By section, with '' for every argument."""
        return self._statements

    def contract(self, chance: random.Random) -> str:
        """A script for `DATA`."""
        lines = [f"Scenario '{scenario}'" for scenario in _SCENARIOS]
        lines += [f"Given I have a '{kind}' named '{name}'" for name, kind in _KINDS.items()]
        if chance.random() < 0.2:
            lines.append(self._one("Given", chance))
        if chance.random() < 0.2:
            lines.append(f"Given I have a '{chance.choice(_POINTS)}' named '{chance.choice(_STUMPS)}'")
        lines += [f"When I create the {key} key" for key in _KEYS]
        lines += [f"When I {made}" for made in chance.sample(_MADE, chance.randrange(4))]
        lines += self._body(chance)
        lines.append("Then print data" if chance.random() < 0.8 else self._one("Then", chance))
        return "\n".join(lines) + "\n"

    def _body(self, chance: random.Random) -> list[str]:
        said = [
            self._one(chance.choice(("When", "When", "When", "IfWhen")), chance)
            for _ in range(chance.choice((1, 1, 2, 4)))
        ]
        form = chance.random()
        if form < 0.15:
            return [self._one("IfWhen", chance).replace("When I", "If I", 1), *said, "EndIf"]
        if form < 0.25:
            return [f"Foreach 'turn' in '{chance.choice(('numbers', 'words'))}'", *said, "EndForeach"]
        return said

    def _one(self, section: str, chance: random.Random) -> str:
        """A statement of a section with arguments of chance's choice."""
        parts = chance.choice(self._statements[section]).split("''")
        said = parts[0]
        for part in parts[1:]:
            argument = chance.choice(_OBJECTS) if chance.random() < 0.7 else chance.choice(_LITERALS)
            said += f"'{argument}'{part}"
        return f"{'When' if section == 'IfWhen' else section} I {said}"
