# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole story of a Python driver that makes version 2.0 transactions, from first CREATE to the event stream.

bigchaindb-driver 0.6.2 and planetmint-driver 0.9.4 and 0.11.1 have the same interface; they differ in the class,
the package and in what they allow as asset data and metadata. Each step is one method, named like its test.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import base58
from nacl.signing import SigningKey
from reporting import (
    Step,
    Subscriber,
    eventually,
    expect,
    expect_equal,
    expect_refused,
)

Transaction = dict[str, Any]


@dataclass(frozen=True)
class Driver:
    """What differs between the drivers of this family."""

    connect: Callable[[str], Any]
    generate_keypair: Callable[[], Any]
    bad_request: type[Exception]
    not_found: type[Exception]
    sign_by_callback: Callable[[Transaction, Callable[[Any, bytes], bytes]], Transaction] | None
    asset: Callable[[str], dict[str, Any]]  # a distinct asset for each label, with the label's text in it
    metadata: Callable[[str], Any]
    search_term: Callable[[str], str]  # finds the asset or metadata made from the label, and no other


class Story:
    """Alice, Bob and Carol live through what the driver's manual shows."""

    def __init__(self, driver: Driver, url: str) -> None:
        self.driver = driver
        self.node = driver.connect(url)
        self.alice, self.bob, self.carol = (driver.generate_keypair() for _ in range(3))
        self.committed: dict[str, str] = {}  # transaction id -> asset id
        self.subscriber: Subscriber

    def steps(self) -> list[Step]:
        """All steps in the order in which they build upon one another."""
        return [
            self.roots,
            self.stream_opened,
            self.create_async,
            self.create_sync,
            self.create_commit,
            self.retrieve,
            self.divisible_transfer,
            self.merge_of_outputs,
            self.threshold_owners,
            self.several_signers,
            self.delegated_signing,
            self.double_spend,
            self.duplicate,
            self.tampered,
            self.not_found,
            self.outputs,
            self.transactions_by_asset,
            self.blocks,
            self.asset_search,
            self.metadata_search,
            self.event_stream,
        ]

    # --- helpers ---------------------------------------------------------------------------------------------

    def _create(self, label: str, signers: Any, keys: Any, recipients: Any = None) -> Transaction:
        prepared = self.node.transactions.prepare(
            operation="CREATE",
            signers=signers,
            recipients=recipients,
            asset=self.driver.asset(label),
            metadata=self.driver.metadata(label),
        )
        signed: Transaction = self.node.transactions.fulfill(prepared, private_keys=keys)
        return signed

    def _transfer(self, asset_id: str, spent: list[tuple[Transaction, int]], recipients: Any) -> Transaction:
        """Prepare, unsigned, the transfer of the given outputs."""
        prepared: Transaction = self.node.transactions.prepare(
            operation="TRANSFER",
            asset={"id": asset_id},
            inputs=[_input(transaction, index) for transaction, index in spent],
            recipients=recipients,
            metadata=None,
        )
        return prepared

    def _commit(self, transaction: Transaction) -> Transaction:
        answer = self.node.transactions.send_commit(transaction)
        expect_equal(answer, transaction, "answer of send_commit")
        asset_id = transaction["asset"].get("id", transaction["id"])
        self.committed[transaction["id"]] = asset_id
        return transaction

    def _unspent(self, owner: Any) -> list[tuple[str, int]]:
        return _references(self.node.outputs.get(owner.public_key, spent=False))

    # --- steps -----------------------------------------------------------------------------------------------

    def roots(self) -> object:
        info, api = self.node.info(), self.node.api_info()
        expect("v1" in info["api"], "GET / names no API version")
        expect_equal(api["streams"], info["api"]["v1"]["streams"], "stream URL of both roots")
        return {"software": info["software"], "version": info["version"], "streams": api["streams"]}

    def stream_opened(self) -> None:
        self.subscriber = Subscriber(self.node.api_info()["streams"])

    def create_async(self) -> None:
        self._create_in_mode("async", self.node.transactions.send_async)

    def create_sync(self) -> None:
        self._create_in_mode("sync", self.node.transactions.send_sync)

    def _create_in_mode(self, mode: str, send: Callable[[Transaction], Transaction]) -> None:
        transaction = self._create(f"bicycle {mode}", self.alice.public_key, self.alice.private_key)
        expect_equal(send(transaction), transaction, f"answer of send_{mode}")
        eventually(lambda: self._is_committed(transaction["id"]), f"commit after send_{mode}")
        self.committed[transaction["id"]] = transaction["id"]

    def _is_committed(self, transaction_id: str) -> bool:
        try:
            return bool(self.node.transactions.retrieve(transaction_id))
        except self.driver.not_found:
            return False

    def create_commit(self) -> None:
        self.bicycle = self._create("bicycle", self.alice.public_key, self.alice.private_key)
        self._commit(self.bicycle)

    def retrieve(self) -> None:
        found = self.node.transactions.retrieve(self.bicycle["id"])
        expect_equal(found, self.bicycle, "the stored transaction")

    def divisible_transfer(self) -> None:
        recipients = [([self.alice.public_key], 10)]
        self.coins = self._create("coins", self.alice.public_key, self.alice.private_key, recipients)
        self._commit(self.coins)
        split = [([self.bob.public_key], 4), ([self.alice.public_key], 6)]
        prepared = self._transfer(self.coins["id"], [(self.coins, 0)], split)
        self.split = self._commit(self.node.transactions.fulfill(prepared, self.alice.private_key))
        expect_equal([one["amount"] for one in self.split["outputs"]], ["4", "6"], "amounts")
        expect((self.split["id"], 0) in self._unspent(self.bob), "Bob does not own his part")
        expect((self.split["id"], 1) in self._unspent(self.alice), "Alice does not own the change")
        expect((self.coins["id"], 0) not in self._unspent(self.alice), "the split output is still unspent")

        too_much = self._transfer(self.coins["id"], [(self.split, 0)], [([self.carol.public_key], 5)])
        signed = self.node.transactions.fulfill(too_much, self.bob.private_key)
        self._refused(signed, "Invalid transaction (AmountError)")

    def merge_of_outputs(self) -> None:
        spent = [(self.split, 0), (self.split, 1)]
        prepared = self._transfer(self.coins["id"], spent, [([self.carol.public_key], 10)])
        keys = [self.bob.private_key, self.alice.private_key]
        merged = self._commit(self.node.transactions.fulfill(prepared, keys))
        expect_equal(self._unspent(self.carol), [(merged["id"], 0)], "outputs of Carol")

    def threshold_owners(self) -> None:
        both = [self.alice.public_key, self.bob.public_key]
        shared = self._create("shared car", self.alice.public_key, self.alice.private_key, recipients=[(both, 1)])
        expect_equal(shared["outputs"][0]["condition"]["details"]["type"], "threshold-sha-256", "condition")
        self._commit(shared)
        expect((shared["id"], 0) in self._unspent(self.alice), "Alice does not own the shared car")
        expect((shared["id"], 0) in self._unspent(self.bob), "Bob does not own the shared car")
        prepared = self._transfer(shared["id"], [(shared, 0)], [([self.carol.public_key], 1)])
        sold = self.node.transactions.fulfill(prepared, [self.alice.private_key, self.bob.private_key])
        self._commit(sold)
        expect((shared["id"], 0) not in self._unspent(self.bob), "the shared car is still Bob's")
        expect((sold["id"], 0) in self._unspent(self.carol), "the shared car is not Carol's")

    def several_signers(self) -> None:
        signers = [self.alice.public_key, self.bob.public_key]
        keys = [self.alice.private_key, self.bob.private_key]
        joint = self._create("joint work", signers, keys, recipients=[(signers, 1)])
        expect_equal(len(joint["inputs"]), 1, "inputs of a CREATE")
        expect_equal(joint["inputs"][0]["owners_before"], signers, "signers")
        self._commit(joint)

    def delegated_signing(self) -> object:
        if self.driver.sign_by_callback is None:
            return "not offered by this driver"
        prepared = self.node.transactions.prepare(
            operation="CREATE", signers=self.alice.public_key, asset=self.driver.asset("signed elsewhere")
        )
        self._commit(self.driver.sign_by_callback(prepared, lambda _, message: self._sign(message)))
        return None

    def _sign(self, message: bytes) -> bytes:
        return SigningKey(base58.b58decode(self.alice.private_key)).sign(message).signature

    def double_spend(self) -> None:
        first = self._transfer(self.bicycle["id"], [(self.bicycle, 0)], [([self.bob.public_key], 1)])
        second = self._transfer(self.bicycle["id"], [(self.bicycle, 0)], [([self.carol.public_key], 1)])
        self.sold = self._commit(self.node.transactions.fulfill(first, self.alice.private_key))
        signed = self.node.transactions.fulfill(second, self.alice.private_key)
        self._refused(signed, "Invalid transaction (DoubleSpend)")
        self.refused = signed["id"]

    def duplicate(self) -> None:
        self._refused(self.bicycle, "Invalid transaction (DuplicateTransaction)")

    def tampered(self) -> None:
        self._refused(
            self.bicycle | {"metadata": self.driver.metadata("forged")}, "Invalid transaction (InvalidHash)"
        )
        prepared = self._transfer(self.bicycle["id"], [(self.sold, 0)], [([self.carol.public_key], 1)])
        prepared["inputs"][0]["owners_before"] = [self.carol.public_key]
        prepared["inputs"][0]["fulfillment"]["public_key"] = self.carol.public_key
        stolen = self.node.transactions.fulfill(prepared, self.carol.private_key)
        self._refused(stolen, "Invalid transaction (InvalidSignature)")

    def _refused(self, transaction: Transaction, message: str) -> None:
        """The same refusal is demanded in every mode."""
        sends = self.node.transactions
        for send in (sends.send_async, sends.send_sync, sends.send_commit):
            expect_refused(lambda send=send: send(transaction), self.driver.bad_request, 400, message)

    def not_found(self) -> None:
        missing = "0" * 64
        expect_refused(lambda: self.node.transactions.retrieve(missing), self.driver.not_found, 404, "Not found")
        expect_equal(self._is_committed(self.refused), False, "presence of a refused transaction")
        expect_equal(self.node.blocks.get(txid=missing), None, "block of an unknown transaction")

    def outputs(self) -> None:
        every = _references(self.node.outputs.get(self.alice.public_key))
        spent = _references(self.node.outputs.get(self.alice.public_key, spent=True))
        unspent = self._unspent(self.alice)
        expect_equal(sorted(spent + unspent), sorted(every), "spent and unspent outputs together")
        expect((self.bicycle["id"], 0) in spent, "the sold bicycle is not among the spent outputs")
        expect((self.bicycle["id"], 0) not in unspent, "the sold bicycle is among the unspent outputs")
        stranger = self.driver.generate_keypair()
        expect_equal(self.node.outputs.get(stranger.public_key), [], "outputs of a stranger")

    def transactions_by_asset(self) -> None:
        asset_id = self.bicycle["id"]
        of_asset = self.node.transactions.get
        expect_equal(of_asset(asset_id=asset_id), [self.bicycle, self.sold], "all of the asset")
        expect_equal(of_asset(asset_id=asset_id, operation="CREATE"), [self.bicycle], "its CREATE")
        expect_equal(of_asset(asset_id=asset_id, operation="TRANSFER"), [self.sold], "its TRANSFER")
        expect_equal(of_asset(asset_id="0" * 64), [], "transactions of an unknown asset")

    def blocks(self) -> object:
        height = self.node.blocks.get(txid=self.bicycle["id"])
        expect(isinstance(height, int), f"the driver did not get a height: {height!r}")
        block = self.node.blocks.retrieve(str(height))
        expect_equal(block["height"], height, "height")
        expect(self.bicycle in block["transactions"], "the block lacks the transaction")
        expect_refused(
            lambda: self.node.blocks.retrieve(str(height + 1_000_000)),
            self.driver.not_found,
            404,
            "Not found",
        )
        return {"height": height}

    def asset_search(self) -> None:
        term = self.driver.search_term("shared car")
        found = self.node.assets.get(search=term)
        expect_equal(len(found), 1, f"assets found for {term!r}")
        expect_equal(found[0]["data"], self.driver.asset("shared car")["data"], "asset data")
        expect(found[0]["id"] in self.committed, "the asset's id is not that of its CREATE")
        expect_equal(self.node.assets.get(search=term, limit=1), found, "the same with a limit")
        expect_equal(self.node.assets.get(search="neverwrittenword"), [], "assets found for a strange word")

    def metadata_search(self) -> None:
        term = self.driver.search_term("shared car")
        found = self.node.metadata.get(search=term)
        expect_equal(len(found), 1, f"metadata found for {term!r}")
        expect_equal(found[0]["metadata"], self.driver.metadata("shared car"), "metadata")
        expect(found[0]["id"] in self.committed, "the id is not that of the transaction")
        expect_equal(self.node.metadata.get(search=term, limit=1), found, "the same with a limit")
        expect_equal(self.node.metadata.get(search="neverwrittenword"), [], "found for a strange word")

    def event_stream(self) -> object:
        messages = self.subscriber.wait_for(self.committed)
        seen = [message["transaction_id"] for message in messages]
        expect_equal(sorted(seen), sorted(self.committed), "transactions on the stream, each once")
        expect_equal(seen, list(self.committed), "order of the messages, which is that of the commits")
        for message in messages:
            transaction_id = message["transaction_id"]
            expect_equal(message["asset_id"], self.committed[transaction_id], "asset_id of a message")
            expect_equal(message["height"], self.node.blocks.get(txid=transaction_id), "height of a message")
        expect_equal(self.subscriber.of([self.refused]), [], "messages about a refused transaction")
        self.subscriber.close()
        return {"messages": len(messages)}


def _input(transaction: Transaction, index: int) -> dict[str, Any]:
    """An input as the drivers' manuals write it."""
    output = transaction["outputs"][index]
    return {
        "fulfillment": output["condition"]["details"],
        "fulfills": {"transaction_id": transaction["id"], "output_index": index},
        "owners_before": output["public_keys"],
    }


def _references(outputs: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(output["transaction_id"], output["output_index"]) for output in outputs]
