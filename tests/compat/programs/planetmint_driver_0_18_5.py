# SPDX-License-Identifier: AGPL-3.0-or-later
"""planetmint-driver 0.18.5 from PyPI: version 3.0 transactions, content ids, COMPOSE and DECOMPOSE."""

import hashlib
import sys
import uuid
from collections.abc import Callable
from typing import Any

import base58
from nacl.signing import SigningKey
from planetmint_driver import Planetmint
from planetmint_driver.crypto import generate_keypair
from planetmint_driver.exceptions import BadRequest, NotFoundError
from planetmint_driver.offchain import (
    fulfill_transaction,
    fulfill_with_signing_delegation,
    prepare_compose_transaction,
    prepare_decompose_transaction,
)
from reporting import (
    Step,
    Subscriber,
    eventually,
    expect,
    expect_equal,
    expect_refused,
    run,
)
from transactions.common.transaction import Transaction as DriverTransaction
from transactions.types.assets.create import Create

Transaction = dict[str, Any]
RUN = uuid.uuid4().hex  # makes the content of each run its own


def cid(label: str) -> str:
    """Content id, version 0, of the label in this run: base58 of a sha2-256 multihash."""
    return base58.b58encode(b"\x12\x20" + hashlib.sha256((label + RUN).encode()).digest()).decode()


class Story:
    """Alice, Bob and Carol live through what the driver's manual shows."""

    def __init__(self, url: str) -> None:
        self.node = Planetmint(url)
        self.alice, self.bob, self.carol = (generate_keypair() for _ in range(3))
        self.committed: dict[str, list[str]] = {}  # transaction id -> ids of its assets
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
            self.compose,
            self.decompose,
            self.create_from_decomposed,
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
            assets=[{"data": cid(label)}],
            metadata=cid("note on " + label),
        )
        signed: Transaction = self.node.transactions.fulfill(prepared, private_keys=keys)
        return signed

    def _transfer(self, asset_id: str, spent: list[tuple[Transaction, int]], recipients: Any) -> Transaction:
        """Prepare, unsigned, the transfer of the given outputs."""
        prepared: Transaction = self.node.transactions.prepare(
            operation="TRANSFER",
            assets=[asset_id],
            inputs=[_input(transaction, index) for transaction, index in spent],
            recipients=recipients,
        )
        return prepared

    def _commit(self, transaction: Transaction) -> Transaction:
        answer = self.node.transactions.send_commit(transaction)
        expect_equal(answer, transaction, "answer of send_commit")
        self._remember(transaction)
        return transaction

    def _remember(self, transaction: Transaction) -> None:
        ids = [asset.get("id", transaction["id"]) for asset in transaction["assets"] or [{}]]
        self.committed[transaction["id"]] = list(dict.fromkeys(ids))

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
        self._remember(transaction)

    def _is_committed(self, transaction_id: str) -> bool:
        try:
            return bool(self.node.transactions.retrieve(transaction_id))
        except NotFoundError:
            return False

    def create_commit(self) -> None:
        self.bicycle = self._create("bicycle", self.alice.public_key, self.alice.private_key)
        expect_equal(self.bicycle["version"], "3.0", "version that the driver makes")
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

    def delegated_signing(self) -> None:
        prepared = self.node.transactions.prepare(
            operation="CREATE", signers=self.alice.public_key, assets=[{"data": cid("signed elsewhere")}]
        )
        self._commit(fulfill_with_signing_delegation(prepared, lambda _, message: self._sign(message)))

    def _sign(self, message: bytes) -> bytes:
        return SigningKey(base58.b58decode(self.alice.private_key)).sign(message).signature

    def compose(self) -> None:
        parts = [
            self._commit(self._create(label, self.alice.public_key, self.alice.private_key))
            for label in ("wheel", "frame")
        ]
        prepared = prepare_compose_transaction(
            inputs=[DriverTransaction.from_dict(part).to_inputs()[0] for part in parts],
            assets=[cid("wheel and frame"), *(part["id"] for part in parts)],
            recipients=[([self.alice.public_key], 1)],
        )
        expect_equal(prepared["operation"], "COMPOSE", "operation")
        self.composed = self._commit(fulfill_transaction(prepared, private_keys=self.alice.private_key))
        unspent = self._unspent(self.alice)
        expect((self.composed["id"], 0) in unspent, "the composed asset has no unspent output")
        expect(all((part["id"], 0) not in unspent for part in parts), "a consumed part is still unspent")

    def decompose(self) -> None:
        prepared = prepare_decompose_transaction(
            inputs=DriverTransaction.from_dict(self.composed).to_inputs(),
            assets=[cid("wheel again"), cid("frame again"), self.composed["id"]],
            recipients=[([self.alice.public_key], 1), ([self.alice.public_key], 1)],
        ).to_dict()
        expect_equal(prepared["operation"], "DECOMPOSE", "operation")
        self.decomposed = self._commit(fulfill_transaction(prepared, private_keys=self.alice.private_key))
        unspent = self._unspent(self.alice)
        for index in (0, 1):
            expect((self.decomposed["id"], index) in unspent, f"output {index} of the DECOMPOSE is not unspent")

    def create_from_decomposed(self) -> None:
        # The driver has no call for this; the package with which it makes its transactions has.
        unsigned = Create.generate(
            [self.alice.public_key],
            [([self.alice.public_key], 1)],
            assets=[{"data": cid("wheel again")}],
            inputs=[DriverTransaction.from_dict(self.decomposed).to_inputs()[0]],
        ).to_dict()
        self._commit(fulfill_transaction(unsigned, private_keys=self.alice.private_key))
        expect((self.decomposed["id"], 0) not in self._unspent(self.alice), "the DECOMPOSE output is unspent")

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
        self._refused(self.bicycle | {"metadata": cid("forged")}, "Invalid transaction (InvalidHash)")
        prepared = self._transfer(self.bicycle["id"], [(self.sold, 0)], [([self.carol.public_key], 1)])
        prepared["inputs"][0]["owners_before"] = [self.carol.public_key]
        prepared["inputs"][0]["fulfillment"]["public_key"] = self.carol.public_key
        stolen = self.node.transactions.fulfill(prepared, self.carol.private_key)
        self._refused(stolen, "Invalid transaction (InvalidSignature)")

    def _refused(self, transaction: Transaction, message: str) -> None:
        """The same refusal is demanded in every mode."""
        sends = self.node.transactions
        for send in (sends.send_async, sends.send_sync, sends.send_commit):
            expect_refused(lambda send=send: send(transaction), BadRequest, 400, message)

    def not_found(self) -> None:
        missing = "0" * 64
        expect_refused(lambda: self.node.transactions.retrieve(missing), NotFoundError, 404, "Not found")
        expect_equal(self._is_committed(self.refused), False, "presence of a refused transaction")
        expect_equal(self.node.blocks.get(txid=missing), None, "block of an unknown transaction")

    def outputs(self) -> None:
        every = _references(self.node.outputs.get(self.alice.public_key))
        spent = _references(self.node.outputs.get(self.alice.public_key, spent=True))
        unspent = self._unspent(self.alice)
        expect_equal(sorted(spent + unspent), sorted(every), "spent and unspent outputs together")
        expect((self.bicycle["id"], 0) in spent, "the sold bicycle is not among the spent outputs")
        expect((self.bicycle["id"], 0) not in unspent, "the sold bicycle is among the unspent outputs")
        stranger = generate_keypair()
        expect_equal(self.node.outputs.get(stranger.public_key), [], "outputs of a stranger")

    def transactions_by_asset(self) -> None:
        asset_id, coins_id = self.bicycle["id"], self.coins["id"]
        of_assets = self.node.transactions.get
        expect_equal(of_assets(asset_ids=asset_id), [self.bicycle, self.sold], "all of the asset")
        expect_equal(of_assets(asset_ids=[asset_id]), [self.bicycle, self.sold], "the same as a list")
        expect_equal(of_assets(asset_ids=asset_id, operation="CREATE"), [self.bicycle], "its CREATE")
        expect_equal(of_assets(asset_ids=asset_id, operation="TRANSFER"), [self.sold], "its TRANSFER")
        expect_equal(of_assets(asset_ids="0" * 64), [], "transactions of an unknown asset")
        both = of_assets(asset_ids=[asset_id, coins_id], operation="CREATE")
        expect_equal(both, [self.bicycle, self.coins], "CREATE of two assets, as a list")
        joined = of_assets(asset_ids=f"{asset_id},{coins_id}", operation="CREATE")
        expect_equal(joined, both, "CREATE of two assets, joined by a comma")
        of_composed = of_assets(asset_ids=self.composed["id"])
        expect_equal(of_composed, [self.composed, self.decomposed], "COMPOSE and DECOMPOSE of the asset")

    def blocks(self) -> object:
        found = self.node.blocks.get(txid=self.bicycle["id"])
        expect(isinstance(found, dict), f"the driver did not get a block: {found!r}")
        expect(self.bicycle["id"] in found["transaction_ids"], "the block lacks the transaction's id")
        expect("app_hash" in found, "the block lacks its app_hash")
        block = self.node.blocks.retrieve(str(found["height"]))
        for key in ("height", "app_hash", "transaction_ids"):
            expect_equal(block[key], found[key], key)
        expect(self.bicycle in block["transactions"], "the block lacks the transaction")
        missing = str(found["height"] + 1_000_000)
        expect_refused(lambda: self.node.blocks.retrieve(missing), NotFoundError, 404, "Not found")
        return {"height": found["height"]}

    def asset_search(self) -> None:
        # The driver asks for `/assets//<cid>?limit=0`, with two slashes.
        found = self.node.assets.get(cid=cid("shared car"))
        expect_equal(found, [{"data": cid("shared car")}], "assets with the content id")
        expect_equal(self.node.assets.get(cid=cid("shared car"), limit=1), found, "the same with a limit")
        expect_equal(self.node.assets.get(cid=cid("never made")), [], "assets with a strange content id")

    def metadata_search(self) -> None:
        # This driver still asks by search word, although the servers of its time answered 404.
        term = cid("note on shared car")
        found = self.node.metadata.get(search=term)
        expect_equal([one["metadata"] for one in found], [term], "metadata")
        expect(found[0]["id"] in self.committed, "the id is not that of the transaction")
        expect_equal(self.node.metadata.get(search=cid("never made")), [], "found for a strange content id")

    def event_stream(self) -> object:
        messages = self.subscriber.wait_for(self.committed)
        seen = [message["transaction_id"] for message in messages]
        expect_equal(sorted(seen), sorted(self.committed), "transactions on the stream, each once")
        expect_equal(seen, list(self.committed), "order of the messages, which is that of the commits")
        for message in messages:
            transaction_id = message["transaction_id"]
            expect_equal(message["asset_ids"], self.committed[transaction_id], "asset_ids of a message")
            expect(message["asset_id"] in message["asset_ids"], "asset_id is none of asset_ids")
            block = self.node.blocks.get(txid=transaction_id)
            expect_equal(message["height"], block["height"], "height of a message")
        expect_equal(self.subscriber.of([self.refused]), [], "messages about a refused transaction")
        self.subscriber.close()
        return {"messages": len(messages)}


def _input(transaction: Transaction, index: int) -> dict[str, Any]:
    """An input as the driver's manual writes it."""
    output = transaction["outputs"][index]
    return {
        "fulfillment": output["condition"]["details"],
        "fulfills": {"transaction_id": transaction["id"], "output_index": index},
        "owners_before": output["public_keys"],
    }


def _references(outputs: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(output["transaction_id"], output["output_index"]) for output in outputs]


if __name__ == "__main__":
    sys.exit(run("planetmint-driver 0.18.5", Story(sys.argv[1]).steps()))
