# SPDX-License-Identifier: AGPL-3.0-or-later
"""Deterministic cases: valid transactions and ones with a fault, each with the chain that it meets.

A scenario is a random chain and a handful of request bodies that are judged against it. Every third of the
bodies is a valid transaction, the others went through one of the mutators of `mutators`. Scenario number and
seed decide everything, so that a case can be made again from its name alone.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.differential import mutators
from tests.differential.chains import DIALECTS, Chain, Dialect, Draft
from tests.differential.wire import Json

CANDIDATES = 16
"""Request bodies per scenario."""

DRAFTS = 12
"""Drafts to try a mutator on, before another one is taken because the chain has nothing that fits."""


@dataclass(frozen=True)
class Case:
    """One request body: `label` says what was done to it, `text` is the body itself; `valid` if nothing was."""

    label: str
    text: str
    valid: bool = False


@dataclass(frozen=True)
class Scenario:
    """Committed transactions (`context`), those accepted earlier in the block, and the bodies to judge."""

    name: str
    dialect: Dialect
    context: tuple[Json, ...]
    block: tuple[Json, ...]
    cases: tuple[Case, ...]


Mutators = Sequence[mutators.Mutator]


def scenarios(seed: int, count: int, among: Mutators = mutators.ALL) -> Iterator[Scenario]:
    """Scenarios with `count` cases in all, whose faults are `among` these."""
    number = 0
    while count > 0:
        scenario = make_scenario(seed, number, min(count, CANDIDATES), among)
        count -= len(scenario.cases)
        number += 1
        yield scenario


def make_scenario(seed: int, number: int, cases: int = CANDIDATES, among: Mutators = mutators.ALL) -> Scenario:
    """Scenario `number` of `seed`; the dialects take turns."""
    rng = random.Random(f"{seed}/{number}")
    dialect = DIALECTS[number % len(DIALECTS)]
    chain = Chain(rng, dialect)
    chain.grow(rng.randint(2, 8))
    in_block = rng.randint(1, min(3, len(chain.transactions))) if rng.random() < 0.3 else 0
    border = len(chain.transactions) - in_block
    made = tuple(_case(chain, among) for _ in range(cases))
    context, block = tuple(chain.transactions[:border]), tuple(chain.transactions[border:])
    return Scenario(f"{seed}/{number}", dialect, context, block, made)


def _case(chain: Chain, among: Mutators) -> Case:
    rng = chain.rng
    if rng.random() < 0.3:
        draft = _draft(chain)
        return Case(f"valid {draft.body['operation']}", spell(rng, draft.finish()), True)
    while True:
        mutator = rng.choice(among)
        for _ in range(DRAFTS):
            made = mutator.make(chain, _draft(chain))
            if made is not None:
                text = made if isinstance(made, str) else spell(rng, made.value)
                return Case(mutator.name, text)


def _draft(chain: Chain) -> Draft:
    while True:
        operations = (
            ["CREATE"] * 3 + ["TRANSFER"] * 5 + ["VALIDATOR_ELECTION", "CHAIN_MIGRATION_ELECTION", "VOTE", "VOTE"]
        )
        if chain.dialect.name == "C":
            operations += ["COMPOSE"] * 2 + ["DECOMPOSE"] * 2 + ["CREATE_FROM"]
        draft = chain.draft(chain.rng.choice(operations))
        if draft is not None:
            return draft


def spell(rng: random.Random, body: Json) -> str:
    """JSON text of `body` in one of many spellings that parse to the same value."""
    indent = rng.choice((None, None, None, 1))
    separators = rng.choice(((",", ":"), (", ", ": "))) if indent is None else None
    return json.dumps(_shuffled(rng, body), ensure_ascii=rng.random() < 0.5, indent=indent, separators=separators)


def _shuffled(rng: random.Random, value: Json) -> Json:
    """A copy with the members of every object in random order."""
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {key: _shuffled(rng, value[key]) for key in keys}
    if isinstance(value, list):
        return [_shuffled(rng, item) for item in value]
    return value
