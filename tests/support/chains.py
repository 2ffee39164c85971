# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chains for tests of archives: as solo makes them (signed headers) or as an engine does, bulky or not."""

from collections.abc import Sequence
from hashlib import sha256

from nacl.bindings import crypto_sign_seed_keypair

from planetmint.app import BlockLifecycle, CommittedFeed, SignatureCache, Verifier
from planetmint.chain import found_chain, founding_header, sign_header
from planetmint.model.parameters import ChainParameters
from planetmint.model.search import parse_search
from planetmint.model.validator import Validator
from planetmint.ports.store import Paging, StateReads, Store
from planetmint.testing.build import Builder, Built, Dialect, public_key, seed
from tests.support.history import history
from tests.support.ledger import START

BUILDER = Builder(Dialect.BIGCHAINDB)
MAKER = "nina"
PUBLIC, SECRET = crypto_sign_seed_keypair(seed(MAKER))
ADDRESS = sha256(PUBLIC).digest()[:20]

Blocks = Sequence[Sequence[bytes]]


def ordinary() -> list[list[bytes]]:
    """The common history's accepted and refused transactions, block by block."""
    return [[item if isinstance(item, bytes) else item.canonical for item, _ in block] for block in history()]


def bulky(blocks: int, size: int, name: str = "bulky") -> list[list[bytes]]:
    """So many blocks with one transaction of about `size` bytes each, that hardly get smaller when packed."""
    return [[_bulky(f"{name} {number}", size).canonical] for number in range(blocks)]


def _bulky(name: str, size: int) -> Built:
    words = [sha256(f"{name} {number}".encode()).hexdigest() for number in range(size // 64)]
    return BUILDER.create("alice", data={"name": name}, metadata={"text": "".join(words)})


def elected() -> list[list[bytes]]:
    """Blocks that elect a second validator, migrate the chain, go on, and remove that validator."""
    builder = Builder(Dialect.PLANETMINT_2)
    adding = builder.validator_election({MAKER: 10}, "otto", 3)
    renaming = builder.migration_election({MAKER: 10, "otto": 3})
    removing = builder.validator_election({MAKER: 10, "otto": 3}, "otto", 0)
    return [
        [adding.canonical],
        [builder.vote([adding.spend()], amount=10).canonical, BUILDER.create("alice").canonical],
        [BUILDER.create("bob").canonical],
        [renaming.canonical],
        [builder.vote([renaming.spend(1)], amount=3).canonical],
        [builder.vote([renaming.spend()], amount=10).canonical],
        [BUILDER.create("carol").canonical],
        [],
        [removing.canonical],
        [builder.vote([removing.spend()], amount=10).canonical],
        [BUILDER.create("dora").canonical],
    ]


MIGRATED_AT = 6
"""Height at which `elected` concludes the migration."""


async def grow(store: Store, blocks: Blocks, *, signed: bool = True, chain_id: str = "tests") -> None:
    """Found a chain in an open store where there is none, and put blocks on it; the clock goes on by seconds.

    Its validator is the tester `MAKER`. A migration is carried out as soon as a block follows.
    """
    verifier = Verifier(SignatureCache(1_000), threads=1)
    lifecycle = BlockLifecycle(store, CommittedFeed(store), verifier)
    if not await lifecycle.load():
        founding = found_chain(chain_id, ChainParameters(), (Validator(PUBLIC, 10),), START)
        header = founding_header(founding, PUBLIC if signed else b"")
        await lifecycle.init_chain(founding, sign_header(header, SECRET) if signed else header)
    for raws in blocks:
        head = await store.head()
        assert head is not None
        chain = (await store.read_state(StateReads((), ()))).chain()
        if not chain.synced:
            await lifecycle.begin_chain(chain.chain_id, await store.validators())
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
    for name in ("alice", "bob", "carol", "dora", "eve", MAKER, "otto"):
        for spent in (None, True, False):
            answers.append(await store.outputs_by_key(public_key(name), spent, Paging()))
    for word in words:
        query = parse_search(word)
        answers.append(await store.search_assets(query, Paging()))
        answers.append(await store.search_metadata(query, Paging()))
        answers.append(await store.assets_by_content(word, Paging()))
        answers.append(await store.metadata_by_content(word, Paging()))
    return answers
