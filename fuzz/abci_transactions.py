# SPDX-License-Identifier: AGPL-3.0-or-later
"""Any bytes get the same code from CheckTx and FinalizeBlock, and no call of the engine fails over them.

The calls go through the adapter as it is, over a ledger in memory that grows by what is accepted.
"""

import asyncio
import random
import sys

from fuzz.engine import Fuzzer, main
from fuzz.transaction import make
from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier
from planetmint.consensus.cometbft import abci_pb2 as pb
from planetmint.consensus.cometbft import wire
from planetmint.consensus.cometbft.framing import FrameReader
from planetmint.consensus.cometbft.handler import Handler, Link, Verdict
from planetmint.model.validator import Validator
from planetmint.storage.memory import MemoryStore
from planetmint.testing.build import Builder, Dialect

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
LOOP = asyncio.new_event_loop()

BLOCKS = 500
"""Blocks of a chain, after which another is begun: the ledger in memory is not made for long ones."""


class _Nobody:
    """Waits for no transaction."""

    def checked(self, raw: bytes, verdict: Verdict) -> None:
        """See `Watcher`."""

    def vouched(self, raw: bytes) -> bool:
        """See `Watcher`."""
        return False


class _Chain:
    """A chain behind the adapter."""

    def __init__(self) -> None:
        store = MemoryStore()
        LOOP.run_until_complete(store.open())
        verifier = Verifier(SignatureCache(1_000), threads=1)
        self._handler = Handler(BlockLifecycle(store, CommittedFeed(store), verifier), _Nobody())
        self._link = Link()
        self.height = 0
        genesis = wire.InitChain(START, "fuzz", (Validator(b"\x05" * 32, 10),), b"", 1)
        assert self.ask(genesis).init_chain.app_hash

    def ask(self, call: wire.Call) -> pb.Response:
        """The answer to a call; an exception of the protocol breaks the invariant."""
        (message,) = FrameReader().feed(LOOP.run_until_complete(self._handler.answer(call, self._link)))
        answer = pb.Response()
        answer.ParseFromString(message)
        assert answer.WhichOneof("value") == call.kind.value, answer
        return answer

    def try_transaction(self, raw: bytes) -> bool:
        """Whether the transaction is accepted."""
        height = self.height + 1
        checked = self.ask(wire.CheckTx(raw, recheck=False)).check_tx
        assert self.ask(wire.ProcessProposal(height, (raw,))).process_proposal.status == wire.Vote.ACCEPT
        proposed = self.ask(wire.PrepareProposal(height, 1_000_000, (raw,))).prepare_proposal.txs
        assert list(proposed) == ([] if checked.code else [raw])
        time = START + height * SECOND
        block = self.ask(wire.FinalizeBlock(height, time, bytes(20), (raw, raw))).finalize_block
        first, second = block.tx_results
        assert (first.code, first.log) == (checked.code, checked.log)
        assert second.code == wire.INVALID
        self.ask(wire.Commit())
        self.height = height
        return checked.code == wire.OK


_chains: list[_Chain] = []


def try_bytes(data: bytes) -> bool:
    if not _chains or _chains[-1].height >= BLOCKS:
        _chains[:] = [_Chain()]
    return _chains[-1].try_transaction(data)


def make_transaction(rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return Builder(rng.choice(list(Dialect))).create(f"owner-{rng.random()}").canonical
    return make(rng)


FUZZER = Fuzzer("abci_transactions", try_bytes, make_transaction)

if __name__ == "__main__":
    sys.exit(main(FUZZER))
