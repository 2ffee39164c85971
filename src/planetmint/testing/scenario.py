# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chains as short text: one transaction a line, names for keys, labels for transactions.

```
gold  = CREATE alice: 10 alice, 5 2:alice+bob+carol
move  = TRANSFER gold.0 gold.1[alice+carol]: 15 alice
tin   = CREATE bob: 1 bob
both  = COMPOSE move.0 tin.0: 3 alice
parts = DECOMPOSE both.0: left right
left  = CREATE alice from parts.0: 1 carol
safe  = CREATE bob: 7 bob&
open  = TRANSFER safe.0: 7 carol
join  = VALIDATOR_ELECTION new 3 by v1: 10 v0, 20 v1
leave = CHAIN_MIGRATION_ELECTION v0: 10 v0, 20 v1
part  = VOTE join.1: 15 join, 5 v1
```

An owner is a name, several names that all sign (``alice+bob``), or so many of several (``2:alice+bob+carol``).
Where an ampersand follows (``alice&``) the contract `GUARD` stands beside them; what spends such an output has a
script. ``gold.1[alice]`` is an output and who signs for it, all of its owners where nobody is named. An asset's
data is the label; of a CREATE that takes up a part, the part. The outputs of an election are the validators; it
is opened by who is named, or the first of them. In a VOTE the label of an election is its address. Everything
behind ``#`` is a remark.
"""

import re
from collections.abc import Iterator

from planetmint.testing.build import (
    Builder,
    Built,
    Contract,
    Dialect,
    Draft,
    Owner,
    Shares,
    Spend,
    all_of,
    ballot_box,
    contracts,
    m_of_n,
)

GUARD = Contract("Given I have a 'string' named 'word'\nThen print the string 'ok'\n")
"""A contract that is content with any word."""

_LINE = re.compile(r"(?P<label>\w+) *= *(?P<operation>[A-Z_]+) +(?P<subject>[^:]+): *(?P<rest>.*)")
_SPEND = re.compile(r"(?P<label>\w+)\.(?P<index>[0-9]+)(?:\[(?P<signers>[\w+]+)\])?")
_CANDIDATE = re.compile(r"(?P<candidate>\w+) +(?P<power>[0-9]+)(?: +by +(?P<by>\w+))?")
_OWNER = re.compile(r"(?:(?P<needed>[0-9]+):)?(?P<names>\w+(?:\+\w+)*)(?P<guarded>&?)")


def play(text: str, dialect: Dialect = Dialect.PLANETMINT_2) -> dict[str, Built]:
    """Build the transactions of `text`, signed, in its order.

    Args:
        text: As described above; COMPOSE, DECOMPOSE and ``from`` exist in 3.0 only.
        dialect: Of all its transactions.

    Returns:
        The transactions by label.

    Raises:
        ValueError: A line that cannot be read; it is in the message.
    """
    chain: dict[str, Built] = {}
    for line in _lines(text):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"no transaction: {line}")
        chain[match["label"]] = _build(Builder(dialect), chain, line, match)
    return chain


def _lines(text: str) -> Iterator[str]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return (line for line in lines if line)


def _build(builder: Builder, chain: dict[str, Built], line: str, match: re.Match[str]) -> Built:
    label, subject, rest = match["label"], match["subject"].strip(), match["rest"]
    match match["operation"]:
        case "CREATE":
            owner, _, part = subject.partition(" from ")
            consumes = _spend(chain, part.strip(), line) if part else None
            data = _item(chain, part.strip()) if part else label
            creator = _owner(owner.strip(), line)
            created = builder.draft_create(creator, _shares(rest, line), data=data, consumes=consumes)
            return _signed(created, [consumes.owner if consumes else creator], label)
        case "TRANSFER":
            spends = _spends(chain, subject, line)
            moved = builder.draft_transfer(spends, _shares(rest, line), metadata=_note(builder, label))
            return _signed(moved, [spend.owner for spend in spends], label)
        case "COMPOSE":
            spends = _spends(chain, subject, line)
            composed = builder.draft_compose(spends, _shares(rest, line), data=label)
            return _signed(composed, [spend.owner for spend in spends], label)
        case "DECOMPOSE":
            whole = _spend(chain, subject, line)
            return _signed(builder.draft_decompose(whole, rest.split()), [whole.owner], label)
        case "VALIDATOR_ELECTION":
            wish = _CANDIDATE.fullmatch(subject)
            if wish is None:
                raise ValueError(f"a candidate and its power are missing: {line}")
            return builder.validator_election(
                _powers(rest, line), wish["candidate"], int(wish["power"]), by=wish["by"] or "", seed=label
            )
        case "CHAIN_MIGRATION_ELECTION":
            return builder.migration_election(_powers(rest, line), by=_owner(subject, line), seed=label)
        case "VOTE":
            shares = [(amount, _voted(chain, owner)) for amount, owner in _shares(rest, line)]
            return builder.vote(_spends(chain, subject, line), shares, metadata=_note(builder, label))
        case other:
            raise ValueError(f"no operation of a scenario: {other} in: {line}")


def _signed(draft: Draft, owners: list[Owner], word: str) -> Built:
    """The draft, with a script where one of `owners` needs one."""
    if any(map(contracts, owners)):
        draft = draft.scripted({"word": word}, ["ok"], code=GUARD.script)
    return draft.signed()


def _powers(text: str, line: str) -> dict[str, int]:
    """Names and power of validators."""
    return {str(owner): int(amount) for amount, owner in _shares(text, line)}


def _voted(chain: dict[str, Built], owner: Owner) -> Owner:
    """The address of the election whose label this is; else the owner."""
    built = chain.get(owner) if isinstance(owner, str) else None
    return ballot_box(built.id) if built is not None and built.wire["operation"].endswith("_ELECTION") else owner


def _note(builder: Builder, label: str) -> object:
    """Metadata that makes transactions about one output differ from each other by their labels."""
    return builder.dialect.content(label)


def _owner(text: str, line: str) -> Owner:
    match = _OWNER.fullmatch(text)
    if match is None:
        raise ValueError(f"no owner: {text!r} in: {line}")
    names = match["names"].split("+")
    if match["needed"]:
        owner: Owner = m_of_n(int(match["needed"]), *names)
        return all_of(owner, GUARD) if match["guarded"] else owner
    if match["guarded"]:
        return all_of(*names, GUARD)
    return names[0] if len(names) == 1 else all_of(*names)


def _shares(text: str, line: str) -> Shares:
    pairs = [item.split() for item in text.split(",") if item.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"an output is an amount and an owner: {line}")
    return [(amount, _owner(owner, line)) for amount, owner in pairs]


def _spends(chain: dict[str, Built], text: str, line: str) -> list[Spend]:
    return [_spend(chain, item, line) for item in text.split()]


def _spend(chain: dict[str, Built], text: str, line: str) -> Spend:
    match = _SPEND.fullmatch(text)
    if match is None or match["label"] not in chain:
        raise ValueError(f"no output of an earlier line: {text!r} in: {line}")
    built, index = chain[match["label"]], int(match["index"])
    if index >= len(built.owners):
        raise ValueError(f"no such output: {text!r} in: {line}")
    signers = match["signers"].split("+") if match["signers"] else ()
    return built.spend(index, *signers)


def _item(chain: dict[str, Built], text: str) -> str:
    """Data of the part that an output of a DECOMPOSE stands for; `text` was read as an output before."""
    label, _, index = text.partition("[")[0].partition(".")
    return str(chain[label].wire["assets"][int(index)]["data"])
