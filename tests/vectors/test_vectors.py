# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every file of `shared/` against the product: ids, canonical texts, messages, conditions and verdicts.

What each member of a vector means stands in `shared/README.md`. A file that nobody reads fails the run. Contracts
are run by the real engine in the node's own sandbox.
"""

import json as plain_json
from collections.abc import Callable, Iterator
from hashlib import sha3_256
from pathlib import Path
from typing import Any

import pytest

from planetmint.conditions import (
    condition_der,
    condition_uri,
    decode_fulfillment,
    derive_condition,
    details_uri,
    encode_fulfillment,
    fingerprint_contents,
    fulfillment_condition,
    fulfillment_der,
    fulfillment_uri,
    parse_condition_uri,
    read_details,
    verify_signatures,
)
from planetmint.model import json
from planetmint.model.condition import Fulfillment, ZenroomFulfillment
from planetmint.model.election import ChainRecord, election_address
from planetmint.model.errors import SchemaValidationError
from planetmint.model.keys import decode_public_key
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.validator import Validator, ValidatorSet
from planetmint.rules import decode_transaction
from planetmint.testing.build import Builder, Contract, Dialect
from planetmint.testing.ledger import BlockLedger, Engine, Ledger
from tests.support.contract_engine import contract_engine

FOLDER = Path(__file__).with_name("shared")
PARAMETERS = ChainParameters()
SCRIPTED = ChainParameters(contracts=ContractParameters(zenroom="published", scripts="on"))
Vector = dict[str, Any]
Check = Callable[[Vector, Engine], None]


# The checks, one per kind of file


def check_canonical_json(vector: Vector, engine: Engine) -> None:
    text = vector["input_json"].encode()
    if vector.get("refused"):
        with pytest.raises(SchemaValidationError):
            json.canonical(parse(text))
        return
    canonical = json.canonical(parse(text))
    assert canonical == vector["canonical"].encode() == bytes.fromhex(vector["canonical_utf8_hex"])
    assert sha3_256(canonical).hexdigest() == vector["sha3_256"]


def check_crypto_condition(vector: Vector, engine: Engine) -> None:
    details = read_details(vector["details"], "details", max_depth=16, max_leaves=1000)
    condition = derive_condition(details)
    assert condition is not None
    assert condition_uri(condition) == details_uri(details) == vector["condition_uri"]
    assert parse_condition_uri(vector["condition_uri"]) == condition
    if "condition_der_hex" in vector:
        contents = fingerprint_contents(details)
        assert contents is not None
        assert condition_der(condition).hex() == vector["condition_der_hex"]
        assert contents.hex() == vector["fingerprint_contents_hex"]
        assert condition.fingerprint.hex() == vector["fingerprint_sha256_hex"]
        assert condition.cost == vector["cost"]
    fulfillment = read_fulfillment(vector)
    fits = fulfillment_uri(fulfillment) == vector["condition_uri"]
    verifies = verify_signatures(fulfillment, bytes.fromhex(vector["message_hex"]))
    assert (fits and verifies) is vector["valid"]


def check_transaction(vector: Vector, engine: Engine) -> None:
    check_ids(vector)
    ledger = Ledger(PARAMETERS, validators_of(vector))
    ledger.take_all(map(wire, vector["context"]))
    ledger.take_all(map(wire, vector["block"]))
    verdict = ledger.verdict(wire(vector["transaction"]))
    assert (None if verdict is None else verdict.code) == vector["error_class"]
    assert (verdict is None) is vector["valid"]
    if vector["valid"]:
        transaction = decode_transaction(wire(vector["transaction"]), PARAMETERS)
        assert transaction.id == vector["id"]
        assert transaction.canonical == json.canonical(vector["transaction"])
        assert [item.message.hex() for item in transaction.inputs] == vector["signing_messages_hex"]


def check_ids(vector: Vector) -> None:
    """Canonical text, id and signed messages, which need no rules."""
    transaction = vector["transaction"]
    if "canonical_for_id" not in vector:
        assert "inputs" not in transaction, "the published packages wrote no text for a body without inputs alone"
        return
    canonical = json.canonical({**transaction, "id": None})
    assert canonical == vector["canonical_for_id"].encode()
    computed = sha3_256(canonical).hexdigest()
    assert computed == vector.get("computed_id", computed)
    assert transaction.get("id") == vector["id"]
    if vector["valid"]:
        assert computed == vector["id"]
    messages = vector["signing_messages_hex"]
    if messages:
        assert [message(transaction, item).hex() for item in transaction["inputs"]] == messages


def check_script(vector: Vector, engine: Engine) -> None:
    check_ids(vector)
    ledger = Ledger(SCRIPTED, engine=engine)
    ledger.take_all(map(wire, vector["context"]))
    verdict = ledger.verdict(wire(vector["transaction"]))
    assert (None if verdict is None else verdict.code) == vector["error_class"]
    assert (verdict is None) is vector["valid"]


def check_tally(vector: Vector, engine: Engine) -> None:
    """Blocks from height 2 on over a chain whose set may be stored anew at some heights; the state after each."""
    assert vector["election_public_key"] == election_address(vector["election"]["id"])
    chain = BlockLedger(validators_of(vector), "chain-X")
    assert len(vector["blocks"]) == len(vector["result"])
    for block, result in zip(vector["blocks"], vector["result"], strict=True):
        height = result["height"]
        if height in vector["validator_set_changed_at"]:
            chain.sets.append((height, chain.validators()))
        chain.height = height - 1
        outcome = chain.good_block(*(json.canonical(transaction) for transaction in block))
        assert [transaction.id for transaction in outcome.transactions] == result["transactions"]
        assert [since for since, _ in chain.sets] == result["validator_set_stored_for_height"]
        updates = [
            {"power": update.power, "pub_key_hex": update.public_key.hex().upper()} for update in outcome.updates
        ]
        assert updates == result["validator_updates"]
        assert (chain.elections[vector["election"]["id"]].concluded_at is not None) is result["concluded"]
        name, shift, synced = (result["chain"][member] for member in ("chain_id", "height", "is_synced"))
        assert chain.chain() == ChainRecord(name, shift, synced)


def validators_of(vector: Vector) -> ValidatorSet:
    """Validators of a vector about elections; none elsewhere."""
    return tuple(
        Validator(decode_public_key(item["public_key"]) or b"", item["power"])
        for item in vector.get("validators", [])
    )


def check_zenroom_condition(vector: Vector, engine: Engine) -> None:
    """The fulfillment piece by piece; then it creates an asset and spends an output, as 1.x had it."""
    fulfillment = read_fulfillment(vector)
    assert isinstance(fulfillment, ZenroomFulfillment)
    assert fulfillment.script.decode() == vector["script"]
    assert plain_json.loads(fulfillment.data) == vector["data"]
    assert plain_json.loads(fulfillment.keys) == vector["keys"]
    contents = fingerprint_contents(fulfillment)
    assert contents is not None
    assert contents.hex() == vector["fingerprint_contents_hex"]
    assert fulfillment_condition(fulfillment).cost == vector["cost"]
    assert fulfillment_uri(fulfillment) == vector["condition_uri"]
    locked = Contract(vector["script"], vector["data"], vector["keys"])
    builder = Builder(Dialect.PLANETMINT_1)
    created = builder.draft_create("alice", [(1, locked)]).signed()
    assert created.wire["outputs"][0]["condition"]["uri"] == vector["condition_uri"]
    script = {
        "code": {"type": "zenroom", "raw": "", "parameters": []},
        "state": "0" * 64,
        **vector["transaction_script_field"],
    }
    whole = {"input", "output"} <= script.keys()
    for draft in (
        builder.draft_create(locked, [(1, "alice")]),
        builder.draft_transfer([created.spend()], [(1, "bob")]),
    ):
        tried = draft.changed(lambda body: body.update(script=script)).signed()
        assert tried.wire["inputs"][0]["fulfillment"] == vector["fulfillment"]
        ledger = Ledger(SCRIPTED, engine=engine)
        ledger.take(created.canonical)
        verdict = ledger.verdict(tried.canonical)
        assert (verdict is None) is vector["published_accepts"]
        if verdict is not None:
            # The published server had no rule for a script without input or output; its shape is wrong here.
            assert verdict.code == ("InvalidSignature" if whole else "SchemaValidationError")


# What the checks share


def parse(text: bytes) -> json.JsonValue:
    return json.parse(text, max_depth=PARAMETERS.max_json_depth, max_digits=PARAMETERS.max_number_digits)


def wire(transaction: json.JsonValue) -> bytes:
    """JSON as a client might spell it: members in the vector's order, blanks, ASCII escapes."""
    return plain_json.dumps(transaction).encode()


def message(transaction: Vector, item: Vector) -> bytes:
    """What an input signs (transactions 4.3), computed here on its own."""
    inputs = [{**one, "fulfillment": None} for one in transaction["inputs"]]
    text = json.canonical({**transaction, "id": None, "inputs": inputs})
    if item["fulfills"]:
        text += f"{item['fulfills']['transaction_id']}{item['fulfills']['output_index']}".encode()
    return sha3_256(text).digest()


def read_fulfillment(vector: Vector) -> Fulfillment:
    fulfillment = decode_fulfillment(vector["fulfillment"], max_depth=16, max_leaves=1000)
    assert encode_fulfillment(fulfillment) == vector["fulfillment"]
    if "fulfillment_der_hex" in vector:
        assert fulfillment_der(fulfillment).hex() == vector["fulfillment_der_hex"]
    return fulfillment


# The files

CHECKS: dict[str, dict[str, Check]] = {
    "canonical_json.json": {"vectors": check_canonical_json},
    "crypto_conditions.json": {"vectors": check_crypto_condition},
    "tx_bigchaindb_2_0.json": {"vectors": check_transaction},
    "tx_planetmint1_2_0.json": {"vectors": check_transaction},
    "tx_planetmint2_3_0.json": {"vectors": check_transaction},
    "elections_2_0.json": {"vectors": check_transaction, "tallies": check_tally},
    "elections_3_0.json": {"vectors": check_transaction, "tallies": check_tally},
    "scripts_3_0.json": {"vectors": check_script},
    "zenroom_conditions.json": {"vectors": check_zenroom_condition},
}
COUNTS = {"tx_bigchaindb_2_0.json": 68, "tx_planetmint1_2_0.json": 55, "tx_planetmint2_3_0.json": 74}
ELECTION_COUNTS = {"elections_2_0.json": (42, 6), "elections_3_0.json": (42, 6)}


def cases() -> Iterator[Any]:
    for name, checks in CHECKS.items():
        content = plain_json.loads((FOLDER / name).read_text(encoding="utf-8"))
        for member, check in checks.items():
            for vector in content[member]:
                yield pytest.param(check, vector, id=f"{name.removesuffix('.json')}-{vector['name']}")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with contract_engine() as run:
        yield run


@pytest.mark.parametrize(("check", "vector"), list(cases()))
def test_the_vector_holds(check: Check, vector: Vector, engine: Engine) -> None:
    check(vector, engine)


def test_every_vector_file_and_every_list_in_it_is_read() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"README.md"}
    assert files == set(CHECKS)
    for name, checks in CHECKS.items():
        content = plain_json.loads((FOLDER / name).read_text(encoding="utf-8"))
        lists = {member for member, value in content.items() if isinstance(value, list)}
        assert lists == set(checks), name
        assert all(content[member] for member in lists), name


@pytest.mark.parametrize(("name", "count"), list(COUNTS.items()))
def test_no_transaction_vector_is_missing(name: str, count: int) -> None:
    content = plain_json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert content["count"] == len(content["vectors"]) == count


@pytest.mark.parametrize(("name", "counts"), list(ELECTION_COUNTS.items()))
def test_no_election_vector_and_no_tally_is_missing(name: str, counts: tuple[int, int]) -> None:
    content = plain_json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert (len(content["vectors"]), len(content["tallies"])) == counts
