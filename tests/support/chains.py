# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chains for tests of archives: as solo makes them (signed headers) or as an engine does, bulky or not."""

from collections.abc import Sequence
from hashlib import sha256

from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier
from planetmint.chain import found_chain, founding_header, sign_header
from planetmint.model.parameters import ChainParameters
from planetmint.model.search import parse_search
from planetmint.model.validator import Validator
from planetmint.ports.store import Paging, StateReads, Store
from planetmint.testing.build import Builder, Built, Dialect, public_key
from tests.support.history import history
from tests.support.ledger import PUBLIC, SECRET, START

BUILDER = Builder(Dialect.BIGCHAINDB)
ADDRESS = sha256(PUBLIC).digest()[:20]

Blocks = Sequence[Sequence[bytes]]


def ordinary() -> list[list[bytes]]:
    """The common history's accepted and refused transactions, block by block."""
    return [[item if isinstance(item, bytes) else item.canonical for item, _ in block] for block in history()]


def bulky(blocks: int, size: int, seed: str = "bulky") -> list[list[bytes]]:
    """So many blocks with one transaction of about `size` bytes each, that hardly get smaller when packed."""
    return [[_bulky(f"{seed} {number}", size).canonical] for number in range(blocks)]


def _bulky(seed: str, size: int) -> Built:
    words = [sha256(f"{seed} {number}".encode()).hexdigest() for number in range(size // 64)]
    return BUILDER.create("alice", data={"seed": seed}, metadata={"text": "".join(words)})


async def grow(store: Store, blocks: Blocks, *, signed: bool = True, chain_id: str = "tests") -> None:
    """Found a chain in an open store where there is none, and put blocks on it; the clock goes on by seconds."""
    verifier = Verifier(SignatureCache(1_000), threads=1)
    lifecycle = BlockLifecycle(store, CommittedFeed(store), verifier)
    if not await lifecycle.load():
        founding = found_chain(chain_id, ChainParameters(), (Validator(PUBLIC, 10),), START)
        header = founding_header(founding, PUBLIC if signed else b"")
        await lifecycle.init_chain(founding, sign_header(header, SECRET) if signed else header)
    for raws in blocks:
        head = await store.head()
        assert head is not None
        time = head.time + 1_000_000_000
        await lifecycle.finalize_block(head.height + 1, time, PUBLIC if signed else ADDRESS, raws)
        await lifecycle.commit(sign_header(lifecycle.header(), SECRET) if signed else None)
    verifier.close()


async def dump(store: Store, words: Sequence[str] = ("QmSilver", "meta", "none")) -> list[object]:
    """Everything that a store answers through the port about the chains made here."""
    head = await store.head()
    assert head is not None
    answers: list[object] = [await store.founding(), head, await store.validators(), await store.elections()]
    view = await store.read_state(StateReads((), ()))
    answers += [view.chain(), view.validators(), view.validator_changes()]
    for height in range(head.height + 1):
        block = await store.block(height)
        assert block is not None
        answers += [block, await store.events(height, 1)]
        for transaction_id in block.summary.transaction_ids:
            answers.append(await store.height_of(transaction_id))
            answers.append(await store.transaction(transaction_id))
            answers.append(await store.transactions_by_asset([transaction_id], None, last=False, paging=Paging()))
    for name in ("alice", "bob", "carol", "dora", "eve"):
        for spent in (None, True, False):
            answers.append(await store.outputs_by_key(public_key(name), spent, Paging()))
    for word in words:
        query = parse_search(word)
        answers.append(await store.search_assets(query, Paging()))
        answers.append(await store.search_metadata(query, Paging()))
        answers.append(await store.assets_by_content(word, Paging()))
        answers.append(await store.metadata_by_content(word, Paging()))
    return answers
