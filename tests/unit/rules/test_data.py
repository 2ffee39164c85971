# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keys and languages inside object values (transactions 2.4; texts of validation 3.1)."""

from typing import Any

import pytest

from planetmint.model.errors import ValidationError
from planetmint.rules.data import LANGUAGES, check_data

LISTED = {
    *("danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian", "norwegian"),
    *("portuguese", "romanian", "russian", "spanish", "swedish", "turkish", "none"),
    *("da", "nl", "en", "fi", "fr", "de", "hu", "it", "nb", "pt", "ro", "ru", "es", "sv", "tr"),
}


def placed(member: dict[str, Any]) -> list[Any]:
    """Objects that hold `member` at their top, in an object, in a list, and through lists of lists."""
    return [
        member,
        {"a": member},
        {"a": [member]},
        {"a": [[1, [member]], "b"]},
        {"a": {"b": [{"c": [{}, member]}]}},
    ]


def refusal(value: Any, name: str = "asset") -> str | None:
    try:
        check_data(value, name)
    except ValidationError as error:
        assert error.field == name
        return error.rule
    return None


@pytest.mark.parametrize("key", ["$", "$a", "$$", "a.b", ".", ".a", "a.", "a\x00", "\x00", "$language"])
def test_keys_with_a_leading_dollar_a_point_or_nul_are_refused_at_any_depth(key: str) -> None:
    for value in placed({key: 1}):
        assert refusal(value) == "data.key", value


@pytest.mark.parametrize("key", ["", "a$b", "a$", " ", "ä", "a b", "language_", "Language", "\u2024", "\n"])
def test_other_keys_are_fine_at_any_depth(key: str) -> None:
    for value in placed({key: "klingon"}):
        assert refusal(value) is None, value


def test_the_listed_languages_are_known_and_no_others() -> None:
    assert LANGUAGES == LISTED
    for language in sorted(LISTED):
        for value in placed({"language": language}):
            assert refusal(value) is None


@pytest.mark.parametrize(
    "language", ["klingon", "", "English", "EN", "en ", None, 0, 1.5, True, [], ["en"], {}, {"language": "en"}]
)
def test_any_other_value_of_language_is_refused_at_any_depth(language: Any) -> None:
    for value in placed({"language": language}):
        assert refusal(value) == "data.language", value


def test_the_key_rule_holds_inside_a_language_too_and_comes_first() -> None:
    assert refusal({"language": {"$a": 1}}) == "data.key"
    assert refusal({"language": "klingon", "z": {"$a": 1}}) == "data.key"
    assert refusal({"a": [{"language": "klingon"}], "b.c": 1}) == "data.key"


@pytest.mark.parametrize("value", [None, "", "$a.b", "language", 1])
def test_what_is_no_object_is_not_looked_into(value: Any) -> None:
    assert refusal(value) is None


def test_texts_are_those_of_the_published_servers() -> None:
    with pytest.raises(ValidationError) as caught:
        check_data({"a.b": 1}, "asset")
    assert caught.value.reason == (
        'Invalid key name "a.b" in asset object. The key name cannot contain characters ".", "$" or null '
        "characters"
    )
    with pytest.raises(ValidationError) as caught:
        check_data({"language": "klingon"}, "metadata")
    assert caught.value.reason == (
        'MongoDB does not support text search for the language "klingon". If you do not understand this error '
        'message then please rename key/field "language" to something else like "lang".'
    )


def test_long_keys_and_languages_are_shown_short() -> None:
    for value in ({"." * 10_000: 1}, {"language": "x" * 10_000}):
        with pytest.raises(ValidationError) as caught:
            check_data(value, "asset")
        assert len(caught.value.reason) < 400


def test_depth_is_no_matter() -> None:
    value: Any = {"language": "klingon"}
    for level in range(5_000):
        value = [value] if level % 2 else {"a": value}
    assert refusal({"a": value}) == "data.language"
