# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random elections, votes, gifts and frauds over whole blocks, against elections worked out a second time.

After every block: the validator set is never empty and within the engine's bound, an engine that is told the
updates has the set that is stored, and tallies, effects and app hash are those of `tests.support.elections`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from planetmint.model.keys import encode_public_key
from planetmint.model.validator import MAX_TOTAL_POWER
from planetmint.testing.build import (
    ENCODERS,
    Builder,
    Built,
    Dialect,
    ballot_box,
    public_key,
    raw_key,
    validator_set,
)
from planetmint.testing.ledger import BlockLedger
from tests.support import app_hash, elections

NAMES = ("v0", "v1", "v2", "w0", "w1")
FOUNDING = (
    {"v0": 10, "v1": 10, "v2": 10},
    {"v0": 1, "v1": 2, "v2": 30},
    {"v0": 40},
    {"v0": MAX_TOTAL_POWER // 2, "v1": MAX_TOTAL_POWER // 2 - 3},
)
KEYS = {public_key(name): name for name in NAMES}

Move = tuple[str, Dialect, int, int]
moves = st.tuples(
    st.sampled_from(
        ["elect"] * 4 + ["remove", "migrate", "vote", "part", "give", "double", "old"] + ["rally"] * 3
    ),
    st.sampled_from(list(Dialect)),
    st.integers(0, 1_000),
    st.integers(1, 3) | st.integers(0, 14) | st.just(MAX_TOTAL_POWER // 5),
)
histories = st.lists(st.lists(moves, max_size=5), min_size=2, max_size=9)


@dataclass
class Token:
    """Shares of an election: the transaction that made them, which output, how many, and by whom they are held."""

    source: Built
    index: int
    amount: int


@dataclass
class World:
    """The ledger, the independent calculation beside it, and what the moves need to know."""

    ledger: BlockLedger
    model: elections.Elections
    engine: dict[bytes, int]
    tokens: list[Token] = field(default_factory=list)
    spent: list[Token] = field(default_factory=list)
    count: int = 0

    def powers(self, age: int = 0) -> dict[str, int]:
        """Names and power of the newest set, or of an older one."""
        sets = self.ledger.sets
        chosen = sets[max(0, len(sets) - 1 - age)][1]
        return {KEYS[encode_public_key(key)]: power for key, power in chosen}


def build(world: World, move: Move) -> list[tuple[Built, bool]]:
    """The transactions of a move, each with whether it has to be accepted; takes note of the tokens."""
    kind, dialect, number, _ = move
    builder = Builder(dialect)
    world.count += 1
    seed = f"{kind} {world.count}"
    if kind in ("elect", "remove", "migrate", "old"):
        return opened(world, builder, move, seed)
    if kind == "double":
        if not world.spent:
            return []
        token = world.spent[number % len(world.spent)]
        again = builder.vote(
            [token.source.spend(token.index)], amount=token.amount, metadata=dialect.content(seed)
        )
        return [(again, False)]
    chosen = [] if not world.tokens else [world.tokens[number % len(world.tokens)]]
    if kind == "rally":
        chosen = [token for token in world.tokens if chosen and token.source.asset_id == chosen[0].source.asset_id]
    return [(move_token(world, builder, kind, token, number, seed), True) for token in chosen]


def opened(world: World, builder: Builder, move: Move, seed: str) -> list[tuple[Built, bool]]:
    kind, _, number, power = move
    powers = world.powers(age=1 if kind == "old" else 0)
    initiator = list(powers)[number % len(powers)]
    if kind in ("migrate", "old"):
        built = builder.migration_election(powers, by=initiator, seed=seed)
        allowed = powers == world.powers()
    else:
        candidate = NAMES[number % len(NAMES)]
        wanted = 0 if kind == "remove" else power
        key_type = list(ENCODERS)[number % len(ENCODERS)]
        built = builder.validator_election(powers, candidate, wanted, by=initiator, seed=seed, key_type=key_type)
        allowed = elections.after(dict(world.ledger.validators()), raw_key(candidate), wanted) is not None
    if allowed:
        world.tokens += [Token(built, index, held) for index, held in enumerate(powers.values())]
    return [(built, allowed)]


def move_token(world: World, builder: Builder, kind: str, token: Token, number: int, seed: str) -> Built:
    """Cast a token, cast a part of it, or give it to somebody; what is left to cast is a token again."""
    world.tokens.remove(token)
    world.spent.append(token)
    spends = [token.source.spend(token.index)]
    holder, metadata = token.source.owners[token.index], builder.dialect.content(seed)
    if kind == "give":
        built = (builder.vote if number % 2 else builder.transfer)(
            spends, [(token.amount, "heir")], metadata=metadata
        )
        world.tokens.append(Token(built, 0, token.amount))
    elif kind == "part" and token.amount > 1:
        some = 1 + number % (token.amount - 1)
        shares = [(some, ballot_box(token.source.asset_id)), (token.amount - some, holder)]
        built = builder.vote(spends, shares, metadata=metadata)
        world.tokens.append(Token(built, 1, token.amount - some))
    else:
        built = builder.vote(spends, amount=token.amount, metadata=metadata)
    return built


def play_block(world: World, moves_of_block: Sequence[Move]) -> None:
    made = [one for move in moves_of_block for one in build(world, move)]
    before, known = world.ledger.app_hash, dict(world.ledger.validators())
    result = world.ledger.block(*(built.canonical for built, _ in made))
    assert [verdict is None for verdict in result.verdicts] == [allowed for _, allowed in made]
    accepted: list[dict[str, Any]] = [built.wire for built, allowed in made if allowed]

    ended = world.model.add(result.height, accepted)
    assert [record.election_id for record in result.elections] == ended.records
    assert result.updates == (() if ended.update is None else (ended.update,))
    stored = world.model.sets[-1][1]
    assert dict(world.ledger.validators()) == stored
    assert [key for key, _ in world.ledger.validators()] == list(stored)
    expected = app_hash.next_hash(before, result.height, accepted, world.model.effects(ended))
    assert result.app_hash == expected

    for record in world.ledger.elections.values():
        assert record.votes == world.model.votes(record.election_id) <= record.total
        assert record.concluded_at == world.model.concluded.get(record.election_id)
    for key, power in result.updates:
        assert power or key in known, "an engine fails for good where an unknown validator is removed"
        world.engine.pop(key, None) if power == 0 else world.engine.update({key: power})
        event(f"update: {'removal' if power == 0 else 'change' if key in known else 'new'}")
    assert world.engine == stored
    assert stored
    assert 0 < sum(stored.values()) <= MAX_TOTAL_POWER
    assert all(power > 0 for power in stored.values())
    if result.chain is not None:
        event("migration")
        assert not result.chain.synced
        assert (result.chain.chain_id, result.chain.shift) == ended.chain
        assert len(result.chain.chain_id) <= 50
        # As if an engine had begun it at once.
        world.ledger.chain_record = replace(result.chain, synced=True)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FOUNDING), histories)
def test_elections_do_what_a_second_calculation_says_and_keep_the_engine_alive(
    powers: dict[str, int], history: list[list[Move]]
) -> None:
    validators = validator_set(powers)
    world = World(
        BlockLedger(validators, "tests"), elections.Elections("tests", [(1, dict(validators))]), dict(validators)
    )
    for block in history:
        play_block(world, block)
