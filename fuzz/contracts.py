# SPDX-License-Identifier: AGPL-3.0-or-later
"""Any octets of a contract make one call of the engine, or are refused by a rule of contracts, in any spelling.

The same contract in other letters, with more blanks and comments, breaks the same rule.
"""

import json
import random
import re
import sys
from dataclasses import replace

from fuzz.engine import Fuzzer, changed, main
from planetmint.contracts import ContractCall, EngineAnswer, judge
from planetmint.model.condition import ZenroomFulfillment
from planetmint.model.errors import InvalidSignature
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.rules import decode_transaction
from planetmint.rules.contracts import contract_calls
from planetmint.testing.build import Builder, Contract, Dialect

BOUNDS = ContractParameters(
    "published", "on", max_bytes=4_000, max_data_bytes=2_000, max_statements=12, max_number=99
)
PARAMETERS = ChainParameters(contracts=BOUNDS)
RULES = {f"contract.{name}" for name in ("bytes", "data", "statements", "debug", "undetermined", "number")}
DRAFT = Builder(Dialect.PLANETMINT_1).draft_create(Contract("x"), [(1, "alice")])
TRANSACTION = decode_transaction(DRAFT.scripted({"n": 7}, ["ok"]).signed().canonical, PARAMETERS)
PARTS = b"\x1e"
"""Between script, data and keys of an input."""

SCRIPTS = [
    b"Given nothing\nThen print the string 'ok'\n",
    b"Given I have a 'number' named 'n'\nWhen I create the key derivation of 's' with 'n' rounds\nThen nothing\n",
    b"When I create the array of '5' random objects of '64' bits\nand debug\n",
    b"# comment\n\nGiven I have a 'string array' named 'list'\nForeach 'n' in 'list'\nWhen done\nEndForeach\n",
    b"When I write number '5' in 'a b'\nWhen I create the random object of 'a_b' bytes\n",
    b"Given I have a 'number' named 'epoch'\nWhen I create the ephemeral ids for today\n",
]
DATA = [b"{}", b"null", b'{"n": 5, "epoch": 15}', b'{"n": "100", "list": [1, 2]}', b'{"a": {"n": [1e2, true]}}']
CORPUS = [PARTS.join((script, data, keys)) for script in SCRIPTS for data in DATA for keys in DATA[:3]]
WORDS = [
    b"'n'", b"'100'", b"'99'", b"'0x5'", b"'1e1'", b" named by ", b"\n", b"\r", b"\t", b"  ", b"'", b"#", b" the ",
    b" that ", b" valid ", b"Foreach ", b"And ", b"When I debug\n", b"SCHEMA", b"\x00", b"\xff", b"\xc2\xa0",
    b"null", b"1e999", b"[", b"{", b"}", b'"n": 100', PARTS,
]  # fmt: skip
QUOTED = re.compile("('[^']*')")


def try_contract(data: bytes) -> bool:
    parts = [*data.split(PARTS), b"{}", b"{}"][:3]
    call, rule = _read(*parts)
    spelled = _read(_spelled(parts[0]), *parts[1:])[1]
    assert spelled == rule or spelled == "contract.bytes"
    if call is None:
        return False
    assert call.script.encode() == parts[0]
    assert call.data.isascii() and json.loads(call.data)["n"] == 7
    assert (call, None) == _read(*parts)
    for output in parts:
        refusal = judge(call, EngineAnswer(output, data), PARAMETERS)
        assert refusal is None or refusal.rule in ("contract.failed", "contract.output")
    return True


def _read(script: bytes, data: bytes, keys: bytes) -> tuple[ContractCall | None, str | None]:
    """The call of such a leaf, or the rule that it breaks."""
    item = replace(TRANSACTION.inputs[0], fulfillment=ZenroomFulfillment(script, data, keys))
    try:
        (call,) = contract_calls(replace(TRANSACTION, inputs=(item,)), PARAMETERS)
    except InvalidSignature as refusal:
        assert refusal.rule in RULES, refusal.rule
        assert refusal.field == "inputs[0].fulfillment" and len(refusal.reason) < 400
        return None, refusal.rule
    return call, None


def _spelled(script: bytes) -> bytes:
    """The same statements as the engine takes them, written otherwise."""
    lines = []
    for line in script.split(b"\n"):
        pieces = QUOTED.split(line.decode("ascii", "surrogateescape"))
        bare = [piece if at % 2 else piece.swapcase().replace(" ", "  ") for at, piece in enumerate(pieces)]
        lines.append("".join(bare).encode("ascii", "surrogateescape"))
    return b"# more\n\n" + b"\n \t\n".join(lines)


def make(rng: random.Random) -> bytes:
    return changed(rng, CORPUS, WORDS)


FUZZER = Fuzzer("contracts", try_contract, make)

if __name__ == "__main__":
    sys.exit(main(FUZZER))
