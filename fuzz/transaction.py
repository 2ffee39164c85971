# SPDX-License-Identifier: AGPL-3.0-or-later
"""Any bytes are refused with an InvalidTransaction that names a rule, or are decoded to one value for good.

Most inputs are changed as JSON and get the id that fits, so that they reach the checks behind the id.
"""

import copy
import json as plain_json
import random
import sys
from typing import Any

from fuzz.engine import Fuzzer, changed, main
from planetmint.contracts import ContractCall, EngineAnswer
from planetmint.elections import end_block
from planetmint.model import json
from planetmint.model.errors import InvalidTransaction, SchemaValidationError
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.rules import decode_canonical, decode_transaction
from planetmint.testing.build import ENCODERS, Builder, Contract, Dialect, all_of, m_of_n, validator_set
from planetmint.testing.build import identified as with_id
from planetmint.testing.ledger import EmptyLedger, Ledger

PARAMETERS = ChainParameters(
    max_transaction_bytes=20_000,
    max_json_depth=40,
    max_inputs=5,
    max_outputs=5,
    max_condition_depth=4,
    contracts=ContractParameters(zenroom="bound", scripts="on", engine="fuzz 1"),
)
LOCK = Contract("Given nothing", {"a": 1}, {"b": 2})


def content(call: ContractCall) -> EngineAnswer:
    """Whatever is expected comes out."""
    return EngineAnswer(plain_json.dumps({"output": call.expected}).encode(), b"")


def _corpus() -> list[dict[str, Any]]:
    found = []
    for dialect in Dialect:
        build = Builder(dialect)
        first = build.create("a", [(10, "a"), (5, all_of("a", "b"))], data="gold", metadata=dialect.content("x"))
        second = build.transfer([first.spend(0), first.spend(1)], [(15, m_of_n(2, "a", "b", "c"))])
        found += [first.wire, second.wire]
        guarded = build.create("a", [(5, all_of("a", LOCK)), (5, m_of_n(1, "a", LOCK))], data="safe")
        opened = build.draft_transfer([guarded.spend(0), guarded.spend(1)], [(10, all_of("a", "b", LOCK))])
        found += [guarded.wire, opened.scripted({"x": 1}, ["ok"], code="Given nothing").signed().wire]
        if dialect is Dialect.PLANETMINT_2:
            third = build.compose([second.spend()], [(3, "a")], data="both")
            found += [third.wire, build.decompose(third.spend(), ["left", "right"]).wire]
        for key_type in ENCODERS:
            found.append(build.validator_election(POWERS, "c", 4, by="b", key_type=key_type).wire)
        election = build.migration_election(POWERS)
        found += [election.wire, build.vote([election.spend()], amount=10).wire]
    return found


POWERS = {"a": 10, "b": 5}
VALIDATORS = validator_set(POWERS)


CORPUS = _corpus()
TEXTS = [json.canonical(item) for item in CORPUS]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, -0.0, 2**63, 10**80, 5e-324, "", "0", "1", "9" * 20, "\x00", "é", "a" * 64,
    "A" * 64, "2.0", "3.0", "CREATE", "TRANSFER", "COMPOSE", "DECOMPOSE", "VOTE", "VALIDATOR_ELECTION",
    "CHAIN_MIGRATION_ELECTION", "ed25519-base16", "ed25519-base64", "ed25519-sha-256",
    "threshold-sha-256", "zenroom-sha-256", [], {}, [None], {"data": "x"}, {"id": "a" * 64}, {"a.b": 1},
    {"language": "x"}, [[[[[[]]]]]],
]  # fmt: skip
NAMES = [
    "id",
    "data",
    "asset",
    "assets",
    "script",
    "code",
    "input",
    "outputs",
    "type",
    "threshold",
    "extra",
    "",
    "$a",
    "language",
    "public_key",
    "power",
    "node_id",
    "seed",
    "value",
]
WORDS = [
    *(plain_json.dumps(value).encode() for value in VALUES[:20]),
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
]


def try_bytes(data: bytes) -> bool:
    try:
        transaction = decode_transaction(data, PARAMETERS)
    except InvalidTransaction as error:
        assert error.rule, error
        assert type(error) is not InvalidTransaction
        return False
    assert decode_canonical(transaction.canonical, PARAMETERS) == transaction
    assert with_id(plain_json.loads(transaction.canonical))["id"] == transaction.id
    verdict = Ledger(PARAMETERS, VALIDATORS, content).verdict(data)
    assert verdict is None or verdict.rule
    if verdict is None:
        assert not end_block(EmptyLedger(VALIDATORS), 1, [transaction]).updates
    return True


def make(rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return changed(rng, TEXTS, WORDS)
    value = copy.deepcopy(rng.choice(CORPUS))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        change_value(rng, value)
    try:
        return json.canonical(with_id(value) if rng.random() < 0.95 else value)
    except SchemaValidationError:
        return plain_json.dumps(value).encode()


def change_value(rng: random.Random, value: Any) -> None:
    """Change one place somewhere in a JSON value."""
    parent, place = rng.choice(places(value))
    kind = rng.randrange(5)
    if kind == 0 and isinstance(parent, dict):
        del parent[place]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(NAMES)] = copy.deepcopy(rng.choice(VALUES))
    elif kind == 2 and isinstance(parent, list):
        parent.insert(place, copy.deepcopy(rng.choice((parent[place], *VALUES))))
    elif kind == 3:
        other, there = rng.choice(places(rng.choice(CORPUS)))
        parent[place] = copy.deepcopy(other[there])
    else:
        parent[place] = copy.deepcopy(rng.choice(VALUES))


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in `value` with each of its places; there is at least one."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        node = waiting.pop()
        steps = node.keys() if isinstance(node, dict) else range(len(node))
        for step in steps:
            found.append((node, step))
            if isinstance(node[step], dict | list):
                waiting.append(node[step])
    return found or [({"": None}, "")]


FUZZER = Fuzzer("transaction", try_bytes, make)

if __name__ == "__main__":
    sys.exit(main(FUZZER))
