# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole life of assets that contracts guard, on real nodes: issue 5, "Done when" 1.

Created, refused to strangers, tried out, moved by its owner, and seen wherever the node tells of transactions,
with script and fulfillment unchanged; in every dialect, over every kind of node (transactions 5.4 and 6).
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import base58
import httpx
import pytest
import websockets
from nacl.signing import SigningKey

from planetmint.testing.build import (
    Builder,
    Built,
    Contract,
    Dialect,
    Draft,
    Owner,
    Spend,
    all_of,
    m_of_n,
    message,
    public_key,
    seed,
)
from tests.support.network import Network
from tests.support.node import NodeProcess

KINDS = ("embedded", "cometbft-sqlite", "cometbft-tarantool")
TIMEOUT = 60
WORD = "open sesame"
LOCK = f"""\
Given I have a 'string' named 'word'
When I create the hash of 'word'
and I set 'lock' to '{sha256(WORD.encode()).hexdigest()}' as 'hex'
and I verify 'hash' is equal to 'lock'
Then print the string 'opened'
"""
OTHER = "Given nothing\nThen print the string 'opened'\n"
OPENED = ["opened"]

pytestmark = pytest.mark.timeout(300)


class Door(NamedTuple):
    """A node, from outside."""

    base_url: str
    stream_url: str

    def post(self, built: Built, **arguments: str) -> httpx.Response:
        return httpx.post(
            f"{self.base_url}/api/v1/transactions",
            params={"mode": "commit"} | arguments,
            content=built.canonical,
            timeout=TIMEOUT,
        )

    def commit(self, built: Built) -> None:
        answer = self.post(built)
        assert answer.status_code == 202, answer.text
        assert answer.json() == built.wire

    def refusal(self, built: Built) -> tuple[int, str, str]:
        """Status, class and rule; the dry run says the same, and neither leaves a trace."""
        tried, answer = self.post(built, dry_run="true"), self.post(built)
        told = [(one.status_code, one.json()["class"], one.json()["rule"]) for one in (tried, answer)]
        assert told[0] == told[1]
        assert self.get(f"/transactions/{built.id}").status_code == 404
        return told[1]

    def get(self, path: str, **arguments: str) -> httpx.Response:
        return httpx.get(f"{self.base_url}/api/v1{path}", params=arguments, timeout=TIMEOUT)

    @property
    def block_stream_url(self) -> str:
        return self.stream_url.replace("valid_transactions", "valid_blocks")


@contextmanager
def opened(kind: str, folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Door]:
    if kind == "embedded":
        with NodeProcess(folder / "data", env) as process:
            yield Door(process.base_url, process.stream_url)
        return
    backend = {"cometbft-sqlite": "sqlite", "cometbft-tarantool": "tarantool_db"}[kind]
    with Network(folder, 1, backend=backend, env=dict(env or {})) as network:
        process = network.nodes[0].process
        yield Door(process.base_url, process.stream_url)


@pytest.fixture(scope="module", params=KINDS)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(request.param, tmp_path_factory.mktemp("life")) as made:
        yield made


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    settings = {"PLANETMINT_CHAIN_CONTRACTS_ZENROOM": "published"}
    with opened("embedded", tmp_path_factory.mktemp("published"), settings) as made:
        yield made


def move(builder: Builder, spend: Spend, to: Owner, word: str = WORD, expected: Any = None) -> Built:
    """A TRANSFER whose script says `word`."""
    draft = builder.draft_transfer([spend], [(1, to)])
    return draft.scripted({"word": word}, OPENED if expected is None else expected, code=LOCK).signed()


def claimed(spend: Spend, owner: Owner) -> Spend:
    """The same output, claimed with another condition."""
    return Spend(spend.transaction_id, spend.output_index, owner, spend.asset_id)


@pytest.mark.parametrize("dialect", Dialect, ids=lambda one: one.value)
async def test_an_asset_under_a_contract_is_created_refused_to_strangers_tried_moved_and_seen(
    dialect: Dialect, door: Door
) -> None:
    builder = Builder(dialect)
    guarded = all_of("bob", Contract(LOCK))
    async with (
        websockets.connect(door.stream_url) as stream,
        websockets.connect(door.block_stream_url) as block_stream,
    ):
        locked = builder.create("alice", [(1, guarded)], data=f"parcel of {dialect.value}")
        await asyncio.to_thread(door.commit, locked)
        # A stranger knows contract and word, and has a key; the owner has the key, and not the word.
        stranger = move(builder, claimed(locked.spend(), all_of("eve", Contract(LOCK))), "eve")
        easier = move(builder, claimed(locked.spend(), all_of("bob", Contract(OTHER))), "bob")
        alone = move(builder, claimed(locked.spend(), Contract(LOCK)), "eve")
        for refused, rule in (
            (stranger, "signature.condition"),
            (easier, "signature.condition"),
            (alone, "contracts.bound"),
        ):
            told = await asyncio.to_thread(door.refusal, refused)
            assert told == (400, "InvalidSignature", rule)
        mistaken = move(builder, locked.spend(), "bob", word="sesame street")
        status, kind, rule = await asyncio.to_thread(door.refusal, mistaken)
        # In 3.0 the script of the transaction is the same contract and comes first.
        assert kind == ("InvalidScript" if dialect is Dialect.PLANETMINT_2 else "InvalidSignature")
        assert (status, rule) == (400, "contract.failed")
        lie = move(builder, locked.spend(), "bob", expected=["closed"])
        assert await asyncio.to_thread(door.refusal, lie) == (400, kind, "contract.output")
        # Tried out, and nothing is left of it; then for good.
        moved = move(builder, locked.spend(), "bob")
        tried = await asyncio.to_thread(door.post, moved, dry_run="true")
        assert (tried.status_code, tried.json()["valid"]) == (200, True)
        assert door.get(f"/transactions/{moved.id}").status_code == 404
        await asyncio.to_thread(door.commit, moved)
        events = [json.loads(await asyncio.wait_for(stream.recv(), TIMEOUT)) for _ in range(2)]
        assert [one["transaction_id"] for one in events] == [locked.id, moved.id]
        assert [one["asset_id"] for one in events] == [locked.id, locked.id]
        told = [one for one in await _blocks(block_stream, events[-1]["height"]) if one["transaction_ids"]]
        assert [one["transaction_ids"] for one in told] == [[locked.id], [moved.id]]
    seen_unchanged(door, moved, events[-1]["height"])
    assert door.get("/outputs", public_key=public_key("bob"), spent="false").json()[-1:] == [
        {"transaction_id": moved.id, "output_index": 0}
    ]
    again = move(builder, locked.spend(), "carol")
    assert door.refusal(again) == (400, "DoubleSpend", "input.unspent")


async def _blocks(stream: websockets.ClientConnection, last: int) -> list[dict[str, Any]]:
    """Messages up to that of block `last`."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["height"] < last:
        found.append(json.loads(await asyncio.wait_for(stream.recv(), TIMEOUT)))
    return found


def seen_unchanged(door: Door, built: Built, height: int) -> None:
    """By id, in its block and in its asset's history it stands as it was signed, script and all."""
    assert "script" in built.wire
    stored = door.get(f"/transactions/{built.id}").json()
    assert stored == built.wire
    assert json.dumps(stored["script"], sort_keys=True) == json.dumps(built.wire["script"], sort_keys=True)
    assert built.wire in door.get(f"/blocks/{height}").json()["transactions"]
    assert built.wire in door.get("/transactions", asset_id=built.asset_id).json()


@pytest.mark.parametrize("dialect", Dialect, ids=lambda one: one.value)
def test_a_contract_deep_in_a_threshold_opens_only_together_with_every_owner(dialect: Dialect, door: Door) -> None:
    """The seller in any case, and beside him the buyer or the contract; listed are the seller and his partner."""
    builder = Builder(dialect)
    terms = all_of("seller", m_of_n(1, "buyer", all_of("partner", Contract(LOCK))))
    draft = builder.draft_create("buyer", [(1, terms)], data=f"deal of {dialect.value}")
    listed = [public_key("seller"), public_key("partner")]
    locked = draft.changed(lambda wire: wire["outputs"][0].update(public_keys=listed)).signed()
    door.commit(locked)
    without_partner = move(builder, locked.spend().by("seller", "buyer"), "seller")
    assert door.refusal(without_partner) == (400, "InvalidSignature", "contracts.owners")
    moved = move(builder, locked.spend().by("seller", "partner"), "seller")
    door.commit(moved)
    assert door.get(f"/transactions/{moved.id}").json() == moved.wire


@pytest.mark.parametrize("dialect", Dialect, ids=lambda one: one.value)
def test_a_contract_that_would_suffice_by_the_tree_still_needs_the_owner(dialect: Dialect, door: Door) -> None:
    """One of two, the key or the contract: in mode `bound` the contract alone does not open it."""
    builder = Builder(dialect)
    locked = builder.create("alice", [(1, m_of_n(1, "bob", Contract(LOCK)))], data=f"one of two, {dialect.value}")
    door.commit(locked)
    draft = builder.draft_transfer([locked.spend().by("eve")], [(1, "eve")])
    stolen = draft.scripted({"word": WORD}, OPENED, code=LOCK).signed()
    assert door.refusal(stolen) == (400, "InvalidSignature", "contracts.bound")
    door.commit(builder.transfer([locked.spend().by("bob")], [(1, "bob")]))


def test_a_script_of_version_3_is_kept_as_it_is_and_refused_when_it_lies_or_is_meddled_with(door: Door) -> None:
    builder = Builder(Dialect.PLANETMINT_2)
    code = "Given I have a 'number' named 'n'\nWhen I create the result of 'n' * 'n'\nThen print the 'result'\n"
    policies = {"raw": {"kept": [1, 2.5, "ü", None]}, "txids": {}}
    create = builder.draft_create("scribe", data="sums")
    good = create.scripted({"n": 12}, {"result": 144}, code=code, policies=policies).signed()
    door.commit(good)
    assert door.get(f"/transactions/{good.id}").json()["script"] == good.wire["script"]
    lie = create.scripted({"n": 12}, {"result": 145}, code=code).signed()
    assert door.refusal(lie) == (400, "InvalidScript", "contract.output")
    draft = builder.draft_transfer([good.spend()], [(1, "reader")])
    moved = draft.scripted({"n": 3}, {"result": 9.0}, code=code).signed()
    meddled = moved.changed(lambda wire: wire["script"].update(inputs={"n": 4}, outputs={"result": 16}))
    assert door.refusal(meddled) == (400, "InvalidSignature", "signature")
    door.commit(moved)
    assert door.get(f"/transactions/{moved.id}").json() == moved.wire


@pytest.mark.parametrize("dialect", Dialect, ids=lambda one: one.value)
def test_what_an_arbiter_said_of_one_transaction_opens_it_for_no_other(dialect: Dialect, door: Door) -> None:
    """The member `transaction` of the data ties his word to what the owner signs; nobody puts another there."""
    builder = Builder(dialect)
    locked = builder.create("buyer", [(1, all_of("seller", Contract(APPROVED)))], data=f"escrow, {dialect.value}")
    door.commit(locked)
    approved, word = approval(builder, locked, "seller")
    assert door.post(approved, dry_run="true").json()["valid"] is True
    other = message(released(builder, locked, "thief", {}).wire, 0).hex()
    for replayed in (
        {"attest": word},
        {"attest": word, "transaction": {"message": message(approved.wire, 0).hex(), "signers": []}},
    ):
        stolen = released(builder, locked, "thief", replayed).signed()
        assert message(stolen.wire, 0).hex() == other
        assert door.refusal(stolen) == (400, "InvalidSignature", "contract.failed")
    # In keys, too, and with a key of his own for the arbiter's.
    given = {"transaction": {"message": message(approved.wire, 0).hex()}, "arbiter": public_key("thief")}
    stolen = released(builder, locked, "thief", {"attest": word}, given).signed()
    assert door.refusal(stolen) == (400, "InvalidSignature", "contract.failed")
    # The owner's signature is of no use elsewhere either.
    lifted = released(builder, locked, "thief", {"attest": word}).signed()
    fulfillment = approved.wire["inputs"][0]["fulfillment"]
    lifted = lifted.changed(lambda wire: wire["inputs"][0].update(fulfillment=fulfillment))
    assert door.refusal(lifted) == (400, "InvalidSignature", "signature")
    door.commit(approved)


APPROVED = f"""\
Scenario 'eddsa': the arbiter has seen this very transaction
Given I have a 'eddsa signature' named 'attest'
and I have a 'string' named 'message' in 'transaction'
When I set 'arbiter' to '{public_key("arbiter")}' as 'base58'
and I verify the 'message' has a eddsa signature in 'attest' by 'arbiter'
Then print the string 'released'
"""


def released(
    builder: Builder, locked: Built, to: str, data: dict[str, Any], keys: dict[str, Any] | None = None
) -> Draft:
    """A TRANSFER by the seller whose contract is given `data`; what it signs does not depend on them."""
    guarded = all_of("seller", Contract(APPROVED, data, keys))
    draft = builder.draft_transfer([claimed(locked.spend(), guarded)], [(1, to)])
    return draft.scripted({}, ["released"], code="Given nothing\nThen print the string 'released'\n")


def approval(builder: Builder, locked: Built, to: str) -> tuple[Built, str]:
    """The transaction with the arbiter's word about it, and that word: his signature of the message's digits."""
    said = message(released(builder, locked, to, {}).wire, 0).hex().encode()
    word = base58.b58encode(SigningKey(seed("arbiter")).sign(said).signature).decode()
    return released(builder, locked, to, {"attest": word}).signed(), word


def test_answers_come_in_the_order_that_the_chapter_on_conditions_tells(door: Door) -> None:
    """Each of these has the fault of its line and all those of the lines after it."""
    builder = Builder(Dialect.BIGCHAINDB)
    locked = builder.create("alice", [(2, all_of("bob", Contract(LOCK)))], data="order")
    door.commit(locked)

    def claim(spend: Spend, *, amount: int = 1, signed: bool = False) -> Built:
        draft = builder.draft_transfer([spend], [(amount, "bob")])
        made = draft.scripted({"word": "wrong"}, OPENED, code=LOCK).signed()
        return made if signed else made.changed(lambda wire: wire.update(metadata={"meddled": True}))

    other = claimed(locked.spend(), all_of("bob", Contract(OTHER)))
    faulty = [
        (claim(locked.spend().at(7)).changed(_spoil), "fulfillment.encoding"),
        (claim(claimed(locked.spend(), Contract(LOCK)).at(7)), "contracts.bound"),
        (claim(other.at(7)), "input.exists"),
        (claim(other), "transfer.amounts"),
        (claim(other, amount=2), "signature.condition"),
        (claim(locked.spend(), amount=2), "signature"),
        (claim(locked.spend(), amount=2, signed=True), "contract.failed"),
    ]
    assert [door.refusal(built)[2] for built, _ in faulty] == [rule for _, rule in faulty]


def _spoil(wire: dict[str, Any]) -> None:
    wire["inputs"][0]["fulfillment"] += "AAAA"


@pytest.mark.parametrize("dialect", Dialect, ids=lambda one: one.value)
def test_in_published_a_contract_alone_creates_and_is_spent_by_whoever_satisfies_it(
    dialect: Dialect, published: Door
) -> None:
    """The historic semantics, with what they do not protect: no key signs (transactions 5.4)."""
    builder = Builder(dialect)
    contract = Contract(LOCK, data={"also": True, "none": None})
    draft = builder.draft_create(contract, [(1, contract)], data=f"bare, {dialect.value}")
    locked = draft.scripted({"word": WORD}, OPENED, code=LOCK).signed()
    published.commit(locked)
    details = locked.wire["outputs"][0]["condition"]["details"]
    assert details["type"] == "zenroom-sha-256"
    wrong = move(builder, locked.spend(), "eve", word="sesame street")
    assert published.refusal(wrong)[2] == "contract.failed"
    unscripted = builder.transfer([locked.spend()], [(1, "eve")])
    assert published.refusal(unscripted) == (400, "InvalidSignature", "contract.script")
    moved = move(builder, locked.spend(), "eve")
    published.commit(moved)
    assert published.get(f"/transactions/{moved.id}").json() == moved.wire
    assert moved.wire["inputs"][0]["owners_before"] == []


MADE = json.loads((Path(__file__).parents[1] / "vectors" / "shared" / "zenroom_conditions.json").read_text())


@pytest.mark.parametrize("vector", MADE["vectors"], ids=lambda one: one["name"])
def test_in_published_contracts_of_the_published_package_are_taken_and_their_tampered_forms_refused(
    vector: dict[str, Any], published: Door
) -> None:
    """Fulfillment, script and verdict are those of planetmint-cryptoconditions 1.1.2; it creates and spends."""
    builder = Builder(Dialect.PLANETMINT_1)
    contract = Contract(vector["script"], vector["data"], vector["keys"])
    code = {"type": "zenroom", "raw": "", "parameters": []}
    script = {"code": code, "state": "0" * 64, **vector["transaction_script_field"]}

    def as_published(wire: dict[str, Any]) -> None:
        wire["script"] = script
        wire["inputs"][0]["fulfillment"] = vector["fulfillment"]

    create = builder.create(contract, [(1, contract)], data=vector["name"]).changed(as_published)
    assert create.wire["outputs"][0]["condition"]["uri"] == vector["condition_uri"]
    locked = builder.create("alice", [(1, contract)], data=vector["name"])
    published.commit(locked)
    spend = builder.transfer([locked.spend()], [(1, "bob")]).changed(as_published)
    for made in (create, spend):
        if vector["published_accepts"]:
            published.commit(made)
        else:
            status, kind, _ = published.refusal(made)
            assert status == 400
            whole = script.keys() >= {"input", "output"}
            assert kind == ("InvalidSignature" if whole else "SchemaValidationError")
