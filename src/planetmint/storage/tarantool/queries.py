# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lists made from postings: which transactions stand under some terms, merged and scored here, part by part.

The server hands out rows in the order of its index and no more; what is wanted of them is decided by the values of
the core, as in every store. No request of ours asks for more than a part.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from planetmint.model.errors import SchemaValidationError
from planetmint.model.json import JsonValue, parse
from planetmint.model.search import SearchQuery, tokens_of
from planetmint.ports.errors import StoreError
from planetmint.ports.store import Found
from planetmint.storage.tarantool import record
from planetmint.storage.tarantool.session import Session, Value, raw, wire

_FEWEST, _MOST = 4, 2_000
"""Rows of postings in the first request, per term, and in a later one, over all terms: most lists end early."""

_CHECKED = 100
"""Transactions whose texts are looked at together."""

_MAX_DEPTH, _MAX_DIGITS = 1_000_000, 1_000_000
"""No bounds: what is stored was in bounds when it came."""

Place = tuple[int, int]
"""Less the score, and the sequence number: the order of what a search finds."""


@dataclass(slots=True)
class _Stream:
    """The numbers under one term, as far as they were fetched."""

    term: str
    bit: int
    after: int
    waiting: list[int] = field(default_factory=list)
    ended: bool = False

    def take(self, rows: Sequence[Sequence[Value]], *, more: bool) -> None:
        """Add what was fetched."""
        for _, first, gaps in rows:
            numbers = accumulate(gaps, initial=first)
            self.waiting += [number for number in numbers if number > self.after]
            if self.waiting:
                self.after = self.waiting[-1]
        self.ended = not more


async def merged(session: Session, terms: Sequence[bytes], after: int) -> AsyncIterator[list[tuple[int, int]]]:
    """Numbers greater than `after` under any of some terms, in order, in parts.

    Each comes with the terms that it stands under: bit n for the nth.
    """
    streams = [_Stream(wire(term), 1 << place, after) for place, term in enumerate(terms)]
    rows = _FEWEST
    while streams:
        hungry = [stream for stream in streams if not stream.waiting and not stream.ended]
        if hungry:
            await _fetch(session, hungry, rows)
            rows = min(rows * 4, max(_MOST // len(terms), _FEWEST))
        open_ends = [stream.waiting[-1] for stream in streams if not stream.ended and stream.waiting]
        bound = min(open_ends, default=None)
        masks: dict[int, int] = {}
        for stream in streams:
            ready = stream.waiting if bound is None else [item for item in stream.waiting if item <= bound]
            stream.waiting = stream.waiting[len(ready) :]
            for number in ready:
                masks[number] = masks.get(number, 0) | stream.bit
        streams = [stream for stream in streams if stream.waiting or not stream.ended]
        if masks:
            yield sorted(masks.items())


async def _fetch(session: Session, streams: Sequence[_Stream], most: int) -> None:
    wanted: list[Value] = []
    for stream in streams:
        wanted += (stream.term, stream.after)
    answer = await session.call("postings", wanted, most)
    parts = _list(answer)
    if len(parts) != len(streams):
        raise StoreError("the database answered something else than was asked")
    for stream, part in zip(streams, parts, strict=True):
        rows, more = part
        stream.take(rows, more=bool(more))


async def numbers(session: Session, terms: Sequence[bytes], after: int, count: int | None) -> list[int]:
    """The first numbers under any of some terms, at most so many."""
    found: list[int] = []
    async for part in merged(session, terms, after):
        found += [number for number, _ in part]
        if count is not None and len(found) >= count:
            return found[:count]
    return found


async def last_numbers(session: Session, terms: Sequence[bytes]) -> list[int]:
    """The greatest number under each of some terms that has any."""
    answer = await session.call("last_postings", [wire(term) for term in terms])
    return [row[1] + sum(row[2]) for row in _list(answer)]


async def bodies(session: Session, sequences: Sequence[int]) -> list[Found]:
    """Transactions of some numbers, in that order."""
    found: list[Found] = []
    while len(found) < len(sequences):
        answer = await session.call("bodies", list(sequences[len(found) : len(found) + 1_000]))
        rows = _list(answer)
        if not rows or any(not row[2] for row in rows):
            raise StoreError("the ledger is damaged: an index names a transaction that is not there")
        found += [Found(raw(row[1]).hex(), raw(row[2])) for row in rows]
    return found


class Search:
    """One search in one kind of text.

    Args:
        kind: `ASSET_WORD` or `METADATA_WORD`.
        after: The last place of the part before.
        count: How many places are wanted; None for all.
    """

    def __init__(
        self, session: Session, kind: bytes, query: SearchQuery, after: Place | None, count: int | None
    ) -> None:
        self._session, self._kind, self._query = session, kind, query
        self._after, self._count = after, count
        tokens = dict.fromkeys((*query.words, *(token for part in self._parts for token in part)))
        self._terms = [record.term(kind, token) for token in tokens]
        bits = {token: 1 << place for place, token in enumerate(tokens)}
        self._words = sum(bits[word] for word in query.words)
        self._phrases = [_mask(bits, phrase) for phrase in query.phrases]
        self._excluded = [(_mask(bits, phrase), len(phrase) == 1) for phrase in query.excluded]
        self._exact = all(len(phrase) == 1 for phrase in query.phrases)

    @property
    def _parts(self) -> tuple[tuple[str, ...], ...]:
        return (*self._query.phrases, *self._query.excluded)

    async def places(self) -> list[Place]:
        """The places that are wanted, best first."""
        if not self._query.words:
            return []
        best: list[Place] = []
        top = -len(self._query.words)
        async for part in merged(self._session, self._terms, self._start()):
            worst = best[-1] if self._count is not None and len(best) == self._count else None
            best = sorted([*best, *await self._matching(part, worst)])[: self._count]
            if self._count is not None and len(best) == self._count and best[-1][0] == top:
                break
        return best

    def _start(self) -> int:
        """From which number on the index is read: the score of a single word is always 1."""
        if self._after is not None and len(self._query.words) == 1 and self._after[0] == -1:
            return max(self._after[1], -1)
        return -1

    async def _matching(self, part: Sequence[tuple[int, int]], worst: Place | None) -> list[Place]:
        """Places of the transactions of a part that match and are better than `worst`."""
        sure: list[Place] = []
        unsure: list[Place] = []
        for number, mask in part:
            place = (-(mask & self._words).bit_count(), number)
            if place[0] == 0 or (self._after is not None and place <= self._after):
                continue
            if (worst is not None and place > worst) or any(mask & each != each for each in self._phrases):
                continue
            out = [single for each, single in self._excluded if mask & each == each]
            if not any(out):
                (sure if self._exact and not out else unsure).append(place)
        for start in range(0, len(unsure), _CHECKED):
            sure += await self._checked(unsure[start : start + _CHECKED])
        return sure

    async def _checked(self, places: Sequence[Place]) -> list[Place]:
        """Those whose texts have the phrases, and not the excluded ones."""
        found = await bodies(self._session, [number for _, number in places])
        texts = [self._tokens(item.canonical) for item in found]
        return [
            place for place, tokens in zip(places, texts, strict=True) if self._query.score(tokens) == -place[0]
        ]

    def _tokens(self, body: bytes) -> list[str]:
        """Tokens of a stored transaction's texts, in order."""
        try:
            value = parse(body, max_depth=_MAX_DEPTH, max_digits=_MAX_DIGITS)
        except SchemaValidationError as error:
            raise StoreError(f"the ledger is damaged: {error.reason}") from error
        if not isinstance(value, dict):
            raise StoreError("the ledger is damaged: a transaction is no object")
        if self._kind == record.METADATA_WORD:
            return tokens_of(value.get("metadata"))
        return tokens_of(_asset_data(value))


def _asset_data(transaction: dict[str, JsonValue]) -> list[JsonValue]:
    """`data` of a stored transaction's assets, in each dialect's form."""
    assets = transaction.get("assets", transaction.get("asset"))
    items = assets if isinstance(assets, list) else [assets]
    return [item.get("data") for item in items if isinstance(item, dict)]


def _mask(bits: dict[str, int], tokens: Sequence[str]) -> int:
    mask = 0
    for token in tokens:
        mask |= bits[token]
    return mask


def _list(answer: Sequence[Value]) -> list[Value]:
    """The list that a procedure answered."""
    if answer and isinstance(answer[0], list):
        return answer[0]
    raise StoreError("the database answered something else than was asked")
