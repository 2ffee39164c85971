# SPDX-License-Identifier: AGPL-3.0-or-later
"""Words: how texts are cut for the searches, and how a search is read. One tokeniser for every store.

A token is a word folded (letter case, accents), without stop words and stemmed as English; a word of
`VERBATIM_LENGTH` characters or more (a content id, a key, a hash) is its own token, letter case included.
A store keeps the tokens of a document in order and answers `SearchQuery` on them. Source: http-api 6.1.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import Stemmer

from planetmint.model.json import JsonValue

T = TypeVar("T")

VERBATIM_LENGTH = 32
"""Words of so many characters are not folded, stemmed or dropped: they are identifiers."""

MAX_PARTS = 100
"""Words, phrases and exclusions of one search that count; what a search costs grows with their square."""

LEAF_BREAK = "\ue000"
"""Stands between the tokens of two texts, so that no phrase spans both. No word holds this character."""

_WORD = re.compile(r"\w+", re.ASCII)
_PART = re.compile(r'(?P<minus>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')

_STOP_WORD_LIST = (
    "a about above after again against all am an and any are as at be because been before being below "
    "between both but by can could d did do does doing don down during each few for from further had has "
    "have having he her here hers herself him himself his how i if in into is it its itself just ll m me "
    "more most my myself no nor not now o of off on once only or other our ours ourselves out over own re "
    "s same shall she should so some such t than that the their theirs them themselves then there these "
    "they this those through to too under until up us ve very was we were what when where which while who "
    "whom why will with would you your yours yourself yourselves"
)
STOP_WORDS = frozenset(_STOP_WORD_LIST.split())
"""English words that say nothing about a text; never searched for."""

_STEMMER = Stemmer.Stemmer("english")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search, cut into tokens by the same rules as the texts.

    A document matches when it has at least one of `words`, every one of `phrases` and none of `excluded`.
    Order of the matches, the same in every store: more distinct `words` first; among equals commit order.
    Repetitions of a word in a document and the document's length do not count.

    Attributes:
        words: Any of these (OR); includes the words of the phrases. No repeats; empty finds nothing.
        phrases: Each must stand in one text as consecutive tokens (AND).
        excluded: None of these may stand in one text as consecutive tokens; most have one token.
    """

    words: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...] = ()
    excluded: tuple[tuple[str, ...], ...] = ()

    def score(self, tokens: Sequence[str]) -> int:
        """How many of `words` a document of these tokens has; 0 where it does not match."""
        held = set(tokens)
        score = sum(word in held for word in self.words)
        if score == 0 or not all(_stands_in(phrase, tokens) for phrase in self.phrases):
            return 0
        return 0 if any(_stands_in(phrase, tokens) for phrase in self.excluded) else score


def tokens_of(value: JsonValue) -> list[str]:
    """The tokens of all texts in `value`, in document order, `LEAF_BREAK` between two texts that have any.

    Keys, numbers and the other literals hold no words.
    """
    tokens: list[str] = []
    for text in _texts(value):
        found = _tokens(text)
        if found and tokens:
            tokens.append(LEAF_BREAK)
        tokens += found
    return tokens


def parse_search(text: str) -> SearchQuery:
    """Read what a person typed; of very long searches the first `MAX_PARTS` parts.

    Words stand for themselves; a phrase stands between two double quotes; a minus directly before a word or phrase
    at the beginning or after white space excludes it. A quote without a partner separates words.
    """
    words: list[str] = []
    phrases: list[tuple[str, ...]] = []
    excluded: list[tuple[str, ...]] = []
    for part in islice(_PART.finditer(text), MAX_PARTS):
        tokens = tuple(_tokens(part["word"] if part["phrase"] is None else part["phrase"]))
        if not tokens:
            continue
        if part["minus"]:
            excluded.append(tokens)
            continue
        words += tokens
        if part["phrase"] is not None:
            phrases.append(tokens)
    return SearchQuery(_distinct(words), _distinct(phrases), _distinct(excluded))


def _distinct(items: list[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))


def _stands_in(phrase: tuple[str, ...], tokens: Sequence[str]) -> bool:
    """Whether `phrase` is a run of `tokens`."""
    if len(phrase) == 1:
        return phrase[0] in tokens
    ends = range(len(tokens) - len(phrase) + 1)
    return any(
        tokens[start] == phrase[0] and tuple(tokens[start : start + len(phrase)]) == phrase for start in ends
    )


def _texts(value: JsonValue) -> Iterator[str]:
    """The string leaves of `value` in document order; keys do not count. Deep values need no deep stack."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))


def _tokens(text: str) -> list[str]:
    """The tokens of one text, in order."""
    if text.isascii():
        words = _WORD.findall(text.lower())
        if len(text) < VERBATIM_LENGTH or max(map(len, words), default=0) < VERBATIM_LENGTH:
            return _stems(words)
    tokens: list[str] = []
    for word in _words_of_any_script(text):
        tokens += [word] if len(word) >= VERBATIM_LENGTH else _stems([_fold(word)])
    return tokens


def _stems(words: list[str]) -> list[str]:
    """Stems of folded words; stop words are left out."""
    stems: list[str] = _STEMMER.stemWords([word for word in words if word not in STOP_WORDS])
    return stems


def _words_of_any_script(text: str) -> list[str]:
    """Runs of letters, digits, underscores and the marks on them; accents are left out."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(_kept(character) for character in plain).split()


def _kept(character: str) -> str:
    """What of a decomposed text belongs to a word: nothing for an accent, a blank for what separates words."""
    if unicodedata.combining(character):
        return ""
    if character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M":
        return character
    return " "


def _fold(word: str) -> str:
    """Letter case away; folding may bring new accents, so they go once more."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
