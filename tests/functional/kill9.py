# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kills a node under load at random moments and looks at what the next start finds.

`python -m tests.functional.kill9 --count 100` is the long form of `test_crash_kill9.py`. Load is mixed: single
posts and bulk requests, acknowledged before (`async`) and after (`commit`) the block, creates and transfers.
"""

import argparse
import hashlib
import http.client
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import base58
from websockets.sync.client import connect

from bench import transactions
from tests.support.node import HOST, NodeFailed, NodeProcess

_API = "/api/v1"
_LONGEST_LOAD = 0.8
"""Seconds of load before a kill, at most."""
_LONGEST_START = 0.6
"""Seconds of a start before it is killed too, at most."""
_EARLY = 0.2
"""Share of the kills that are followed by one more, while the node starts."""
_BULK_LINES = 40


class Lost(AssertionError):
    """The node broke a promise; the text says which one."""


@dataclass
class Ledger:
    """What the node has promised, and what was found in its blocks so far.

    Attributes:
        promised: Transactions acknowledged by `mode=commit`, by id.
        taken: Ids acknowledged by `mode=async` alone: they may be lost, but not doubled.
        height_of: Where each id was found.
        spender_of: Who spends each output, by its transaction's id.
        hashes: The app hash of each height that was seen.
    """

    promised: dict[str, bytes] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    height_of: dict[str, int] = field(default_factory=dict)
    spender_of: dict[str, str] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    checked: int = 0
    """How many of `promised` were read back already."""


class Connection:
    """A keep-alive connection for one thread."""

    def __init__(self, node: NodeProcess) -> None:
        self._http = http.client.HTTPConnection(HOST, node.http_port, timeout=30)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and decoded body."""
        self._http.request("GET", _API + path)
        response = self._http.getresponse()
        return response.status, json.loads(response.read())

    def post(self, body: bytes, mode: str, kind: str = "application/json") -> tuple[int, bytes]:
        """Status and body."""
        self._http.request("POST", f"{_API}/transactions?mode={mode}", body, {"Content-Type": kind})
        response = self._http.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Let go of the socket."""
        self._http.close()


def signed_transfer(index: int) -> bytes:
    """The transfer of create `index`'s only output from its owner back to the same key."""
    created = transactions.create(index)
    key = transactions.signing_key(index)
    owner = bytes(key.verify_key)
    name = base58.b58encode(owner).decode()
    spent = transactions.transaction_id(created)
    first_input: dict[str, object] = {
        "fulfillment": None,
        "fulfills": {"output_index": 0, "transaction_id": spent},
        "owners_before": [name],
    }
    transfer: dict[str, object] = {
        "asset": {"id": spent},
        "id": None,
        "inputs": [first_input],
        "metadata": None,
        "operation": "TRANSFER",
        "outputs": json.loads(created)["outputs"],
        "version": "2.0",
    }
    message = hashlib.sha3_256(transactions.canonical(transfer) + f"{spent}0".encode()).digest()
    first_input["fulfillment"] = transactions.fulfillment(owner, key.sign(message).signature)
    transfer["id"] = hashlib.sha3_256(transactions.canonical(transfer)).hexdigest()
    return transactions.canonical(transfer)


class Load:
    """Threads that post until the node dies; `ledger` gets what was acknowledged."""

    def __init__(self, node: NodeProcess, ledger: Ledger, indexes: Iterator[int]) -> None:
        self._node = node
        self._ledger = ledger
        self._indexes = indexes
        self._lock = threading.Lock()
        self._refused: list[str] = []
        posters = [self._commits, self._commits, self._transfers, self._taken, self._taken, self._bulk]
        self._threads = [threading.Thread(target=self._run, args=(poster,)) for poster in posters]

    def start(self) -> None:
        """Begin to post."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every thread has noticed that the node is gone.

        Raises:
            Lost: The node refused a transaction that is valid.
        """
        for thread in self._threads:
            thread.join()
        if self._refused:
            raise Lost(f"refused: {self._refused[0]}")

    def _run(self, poster: Callable[[Connection], None]) -> None:
        connection = Connection(self._node)
        try:
            while not self._refused:
                poster(connection)
        except (OSError, http.client.HTTPException):
            pass  # the kill
        finally:
            connection.close()

    def _commits(self, connection: Connection) -> None:
        self._post(connection, transactions.create(self._next()), "commit")

    def _transfers(self, connection: Connection) -> None:
        index = self._next()
        self._post(connection, transactions.create(index), "commit")
        self._post(connection, signed_transfer(index), "commit")

    def _taken(self, connection: Connection) -> None:
        self._post(connection, transactions.create(self._next()), "async")

    def _bulk(self, connection: Connection) -> None:
        texts = [transactions.create(self._next()) for _ in range(_BULK_LINES)]
        _, body = connection.post(b"\n".join(texts), "commit", "application/x-ndjson")
        for text, line in zip(texts, body.splitlines(), strict=True):
            self._note(text, "commit", json.loads(line)["status"], line)

    def _post(self, connection: Connection, text: bytes, mode: str) -> None:
        status, body = connection.post(text, mode)
        self._note(text, mode, status, body)

    def _note(self, text: bytes, mode: str, status: int, answer: bytes) -> None:
        name = json.loads(text)["id"]
        with self._lock:
            if status != 202:
                self._refused.append(f"{name}: {status} {answer[:300]!r}")
            elif mode == "commit":
                self._ledger.promised[name] = text
            else:
                self._ledger.taken.add(name)

    def _next(self) -> int:
        with self._lock:
            return next(self._indexes)


class CrashTest:
    """One chain that is killed again and again.

    Args:
        folder: For the node's data and log.
        seed: Makes the moments repeatable as far as the machine allows.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.ledger = Ledger()
        self._node = NodeProcess(folder / "node")
        self._random = random.Random(seed)
        self._indexes = itertools.count(time.time_ns())

    def run(self, kills: int, told: Callable[[str], None]) -> None:
        """Kill and check `kills` times, then read everything once more.

        Raises:
            Lost: A promise was broken.
            NodeFailed: The node did not start again by itself.
        """
        self._node.start().wait_ready()
        try:
            for turn in range(1, kills + 1):
                self._kill_under_load()
                self._check()
                found = len(self.ledger.height_of)
                told(f"{turn} of {kills}: {found} transactions in {len(self.ledger.hashes)} blocks, none lost")
            self._check_everything()
            if self._node.stop() != 0:
                raise Lost("the node did not end in order when it was asked to")
        finally:
            if self._node.running:
                self._node.kill()

    def _kill_under_load(self) -> None:
        load = Load(self._node, self.ledger, self._indexes)
        load.start()
        time.sleep(self._random.uniform(0, _LONGEST_LOAD))
        self._node.kill()
        load.join()
        if self._random.random() < _EARLY:
            self._node.start()
            time.sleep(self._random.uniform(0, _LONGEST_START))
            self._node.kill()
        self._node.start().wait_ready()

    def _check(self) -> None:
        connection = Connection(self._node)
        try:
            self._walk(connection, max(len(self.ledger.hashes) - 1, 0))
            self._read_promised(connection, self.ledger.checked)
            text = transactions.create(next(self._indexes))
            status, body = connection.post(text, "commit")
            if status != 202:
                raise Lost(f"a new transaction was refused: {status} {body[:300]!r}")
            self.ledger.promised[json.loads(text)["id"]] = text
        finally:
            connection.close()

    def _check_everything(self) -> None:
        self.ledger.height_of.clear()
        self.ledger.spender_of.clear()
        connection = Connection(self._node)
        try:
            self._walk(connection, 0)
            self._read_promised(connection, 0)
        finally:
            connection.close()
        self._replay()

    def _walk(self, connection: Connection, start: int) -> None:
        """Read the blocks from `start` on; blocks that were seen before must be what they were."""
        ledger = self.ledger
        _, latest = connection.get("/blocks/latest")
        if latest["height"] < len(ledger.hashes) - 1:
            raise Lost(f"the chain ends at {latest['height']}, it has been at {len(ledger.hashes) - 1}")
        for height in range(start, latest["height"] + 1):
            status, block = connection.get(f"/blocks/{height}")
            if status != 200 or block["height"] != height:
                raise Lost(f"block {height} of {latest['height']} is not there: {status}")
            if height < len(ledger.hashes) and ledger.hashes[height] != block["app_hash"]:
                raise Lost(f"block {height} has another app hash than before the kill")
            if height == len(ledger.hashes):
                ledger.hashes.append(block["app_hash"])
            self._enter(height, block)

    def _enter(self, height: int, block: dict[str, Any]) -> None:
        bodies = {body["id"]: body for body in block["transactions"]}
        if list(bodies) != block["transaction_ids"] or len(bodies) != len(block["transactions"]):
            raise Lost(f"block {height} holds a transaction twice, or other ones than it names")
        for name, body in bodies.items():
            if self.ledger.height_of.setdefault(name, height) != height:
                raise Lost(f"{name} is in block {height} and in block {self.ledger.height_of[name]}")
            for spent in (item["fulfills"] for item in body["inputs"] if item["fulfills"]):
                output = f"{spent['transaction_id']}:{spent['output_index']}"
                if self.ledger.spender_of.setdefault(output, name) != name:
                    raise Lost(f"{output} is spent by {name} and by {self.ledger.spender_of[output]}")

    def _read_promised(self, connection: Connection, start: int) -> None:
        for name, text in list(self.ledger.promised.items())[start:]:
            if name not in self.ledger.height_of:
                raise Lost(f"{name} was acknowledged by mode=commit and is in no block")
            status, body = connection.get(f"/transactions/{name}")
            if status != 200 or body != json.loads(text):
                raise Lost(f"{name} was acknowledged by mode=commit and reads {status}")
        self.ledger.checked = len(self.ledger.promised)

    def _replay(self) -> None:
        """The stream tells the same history as the blocks, in the same order."""
        expected = sorted(self.ledger.height_of.values())
        seen: list[str] = []
        heights: list[int] = []
        with connect(f"{self._node.stream_url}?from_height=1", max_size=None) as stream:
            while len(seen) < len(expected):
                message = json.loads(stream.recv(timeout=30))
                seen.append(message["transaction_id"])
                heights.append(message["height"])
        if heights != expected or len(set(seen)) != len(seen) or set(seen) != set(self.ledger.height_of):
            raise Lost("the stream's replay is not what the blocks hold")


def main(arguments: list[str]) -> int:
    """The long form, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.functional.kill9", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many kills (default 100)")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 2**32, help="of the moments (default: the clock)"
    )
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as folder:
        test = CrashTest(Path(folder), options.seed)
        try:
            test.run(options.count, lambda text: print(text, flush=True))
        except (Lost, NodeFailed) as error:
            print(f"FAILED: {error}")
            return 1
    lost = len(test.ledger.taken - set(test.ledger.height_of))
    print(
        f"{options.count} kills, {len(test.ledger.promised)} promised and kept, nothing twice; of "
        f"{len(test.ledger.taken)} taken without a promise {lost} were lost"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
