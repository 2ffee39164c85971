# SPDX-License-Identifier: AGPL-3.0-or-later
"""Words, phrases and exclusions of the searches (http-api 6.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.model.json import JsonValue
from planetmint.model.search import LEAF_BREAK, MAX_PARTS, VERBATIM_LENGTH, SearchQuery, parse_search, tokens_of

CID = "QmaozNR7DZHQK1ZcU9p7QdrshMvXqWK6gpu5rmrkPdT3L4"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("  ,;.  ", []),
        ("Running DOGS ran", ["run", "dog", "ran"]),
        ("the of and", []),
        ("don't stop", ["stop"]),
        ("café CAFÉ cafe\u0301 ＣＡＦＥ", ["cafe"] * 4),
        ("straße STRASSE", ["strass", "strass"]),
        ("İstanbul istanbul", ["istanbul", "istanbul"]),
        ("snake_case kebab-case", ["snake_cas", "kebab", "case"]),
        ("4.5 2026-11-23", ["4", "5", "2026", "11", "23"]),
        ("Жизнь жизнь", ["жизнь", "жизнь"]),
        ("हिन्दी", ["हिनदी"]),
        ("東京 タワー", ["東京", "タワー"]),
        ("a\u0000b\u200bzero", ["b", "zero"]),
        (f"see {CID}, {CID.lower()}", ["see", CID, CID.lower()]),
    ],
)
def test_a_text_is_cut_into_folded_stemmed_words(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens


@pytest.mark.parametrize("length", [VERBATIM_LENGTH - 1, VERBATIM_LENGTH])
def test_words_of_32_characters_are_identifiers_and_kept_as_they_are(length: int) -> None:
    word = "Runnings" * 4
    word = word[:length]
    kept = tokens_of(f"x {word} é")[1]
    assert (kept == word) is (length == VERBATIM_LENGTH)
    assert tokens_of(f"x {word}")[1] == kept


def test_keys_numbers_and_literals_hold_no_words() -> None:
    assert tokens_of({"key": None, "other": [1, 2.5, True, {"third": False}]}) == []


def test_texts_are_parted_so_that_no_phrase_spans_two() -> None:
    value: JsonValue = {"a": "red fox", "b": ["the", {"c": "blue"}, ""], "d": "bird"}
    assert tokens_of(value) == ["red", "fox", LEAF_BREAK, "blue", LEAF_BREAK, "bird"]


def test_deep_values_need_no_deep_stack() -> None:
    value: JsonValue = "deep"
    for _ in range(100_000):
        value = [value]
    assert tokens_of(value) == ["deep"]


@pytest.mark.parametrize(
    ("search", "query"),
    [
        ("", SearchQuery(())),
        ("the", SearchQuery(())),
        ("fox Foxes dog", SearchQuery(("fox", "dog"))),
        ('"Red Foxes" dog', SearchQuery(("red", "fox", "dog"), (("red", "fox"),))),
        ('dog"red fox"cat', SearchQuery(("dog", "red", "fox", "cat"), (("red", "fox"),))),
        ("dog -fox", SearchQuery(("dog",), (), (("fox",),))),
        ('dog -"red fox" - cat', SearchQuery(("dog", "cat"), (), (("red", "fox"),))),
        ("pre-market", SearchQuery(("pre", "market"))),
        ("-pre-market x", SearchQuery(("x",), (), (("pre", "market"),))),
        ('dog "red fox', SearchQuery(("dog", "red", "fox"))),
        ('"" "the" -the', SearchQuery(())),
        ("--dog", SearchQuery((), (), (("dog",),))),
    ],
)
def test_a_search_is_read_into_words_phrases_and_exclusions(search: str, query: SearchQuery) -> None:
    assert parse_search(search) == query


@pytest.mark.parametrize(
    ("search", "score"),
    [
        ("fox", 1),
        ("fox fox red", 2),
        ("fox cow", 1),
        ("cow", 0),
        ('"red fox"', 2),
        ('"fox red"', 0),
        ('"fox blue"', 0),
        ('"fox red" bird', 0),
        ("red -bird", 0),
        ('red -"blue red"', 1),
        ('red -"blue bird"', 0),
        ("-cow", 0),
    ],
)
def test_the_score_counts_distinct_words_of_documents_that_match(search: str, score: int) -> None:
    document = tokens_of(["red red fox", "blue bird"])
    assert parse_search(search).score(document) == score


@given(st.text())
def test_a_text_is_found_by_its_own_words(text: str) -> None:
    tokens = tokens_of(text)
    assert not {LEAF_BREAK, ""} & set(tokens) and not any(token.split() != [token] for token in tokens)
    phrase = text.replace('"', " ")
    query = parse_search(f'"{phrase}"')
    assert query.score(tokens_of(phrase)) == len(set(tokens_of(phrase)))


def test_of_a_very_long_search_the_first_parts_count() -> None:
    query = parse_search(" ".join(f"w{number} -x{number}" for number in range(500)))
    assert len(query.words) + len(query.excluded) == MAX_PARTS
    assert query.words[0] == "w0"
