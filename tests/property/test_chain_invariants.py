# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random histories, honest and dishonest moves mixed: what must hold for the ledger after every block."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from planetmint.app import Mode
from planetmint.model.errors import InvalidTransaction
from planetmint.model.transaction import OutputRef
from planetmint.ports.store import Paging
from planetmint.testing.build import Builder, Built, Dialect, Wire
from tests.support.ledger import Running, running

PEOPLE = ("alice", "bob", "carol")
Move = tuple[str, Dialect, int, int, str]
BUILDERS = {dialect: Builder(dialect) for dialect in Dialect}


@dataclass
class Book:
    """The test's own plain record of who holds what: the independent calculation."""

    unspent: dict[OutputRef, tuple[str, int, str]] = field(default_factory=dict)
    spent: dict[OutputRef, tuple[str, int, str]] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)
    sources: dict[OutputRef, Built] = field(default_factory=dict)

    def create(self, built: Built, shares: list[tuple[int, str]]) -> None:
        self.issued[built.id] = sum(amount for amount, _ in shares)
        self._add(built, shares, built.id)

    def transfer(self, built: Built, refs: list[OutputRef], shares: list[tuple[int, str]], asset: str) -> None:
        for ref in refs:
            self.spent[ref] = self.unspent.pop(ref)
        self._add(built, shares, asset)

    def _add(self, built: Built, shares: list[tuple[int, str]], asset: str) -> None:
        for index, (amount, owner) in enumerate(shares):
            ref = OutputRef(built.id, index)
            self.unspent[ref] = (owner, amount, asset)
            self.sources[ref] = built


moves = st.lists(
    st.tuples(
        st.sampled_from(["create", "transfer", "merge", "steal", "double", "inflate"]),
        st.sampled_from(list(Dialect)),
        st.integers(0, 10_000),
        st.integers(1, 50),
        st.sampled_from(PEOPLE),
    ),
    min_size=3,
    max_size=25,
)


def split(amount: int, seed: int, owner: str) -> list[tuple[int, str]]:
    """One or two shares that add up to `amount`."""
    first = 1 + seed % amount
    other = PEOPLE[seed % len(PEOPLE)]
    return [(first, owner)] + ([(amount - first, other)] if amount > first else [])


def _sign_with(fulfillment: str, wire: Wire) -> None:
    wire["inputs"][0]["fulfillment"] = fulfillment


async def play(node: Running, book: Book, move: Move, count: int) -> None:
    kind, dialect, seed, amount, owner = move
    build = BUILDERS[dialect]
    refs = sorted(book.unspent)
    if kind == "create" or not refs:
        shares = split(amount, seed, owner)
        built = build.create(owner, shares, metadata=dialect.content(f"move-{count}"))
        await node.app.submit(built.canonical, Mode.COMMIT)
        book.create(built, shares)
        return
    ref = refs[seed % len(refs)]
    holder, _, asset = book.unspent[ref]
    if kind == "merge":
        chosen = [one for one in refs if book.unspent[one][2] == asset and book.unspent[one][0] == holder]
    else:
        chosen = [ref]
    total = sum(book.unspent[one][1] for one in chosen)
    spends = [book.sources[one].spend(one.output_index) for one in chosen]
    if kind == "double" and book.spent:
        gone = sorted(book.spent)[seed % len(book.spent)]
        spends = [book.sources[gone].spend(gone.output_index)]
        total = book.spent[gone][1]
    shares = split(total + (1 if kind == "inflate" else 0), seed, owner)
    built = build.transfer(spends, shares, metadata=dialect.content(f"move-{count}"))
    if kind == "steal":
        thief = next(name for name in PEOPLE if name != holder)
        forged = BUILDERS[dialect].create(thief).wire["inputs"][0]["fulfillment"]
        built = built.changed(partial(_sign_with, forged))
    honest = kind in ("transfer", "merge") or (kind == "double" and not book.spent)
    try:
        await node.app.submit(built.canonical, Mode.COMMIT)
    except InvalidTransaction:
        assert not honest
        return
    assert honest
    book.transfer(built, chosen, shares, asset)


async def check(node: Running, book: Book) -> None:
    held: dict[str, int] = defaultdict(int)
    for _, amount, asset in book.unspent.values():
        held[asset] += amount
    assert held == book.issued
    for name in PEOPLE:
        key = BUILDERS[Dialect.BIGCHAINDB].create(name).wire["inputs"][0]["owners_before"][0]

        unspent = (await node.store.outputs_by_key(key, False, Paging())).items
        spent = (await node.store.outputs_by_key(key, True, Paging())).items
        assert sorted(unspent) == sorted(ref for ref, (owner, _, _) in book.unspent.items() if owner == name)
        assert sorted(spent) == sorted(ref for ref, (owner, _, _) in book.spent.items() if owner == name)


@settings(max_examples=40, deadline=None)
@given(moves)
def test_shares_are_neither_made_nor_lost_nor_spent_twice(
    history: list[tuple[str, Dialect, int, int, str]],
) -> None:
    async def run() -> None:
        book = Book()
        async with running() as node:
            for count, move in enumerate(history):
                await play(node, book, move, count)
            await check(node, book)

    asyncio.run(run())
