# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts and seeds of a run (transactions 5.4 and 6; decision D18)."""

from hashlib import sha3_512

import pytest

from planetmint.contracts import ContractCall, Purpose, make_call
from planetmint.model.errors import InvalidScript
from planetmint.model.json import JsonObject
from planetmint.model.parameters import ContractParameters

SCRIPT = "Given nothing\nThen print the string 'ok'\n"


def call(
    data: JsonObject,
    keys: JsonObject | None = None,
    *,
    purpose: Purpose = Purpose.CONDITION,
    script: str = SCRIPT,
    added: JsonObject | None = None,
) -> ContractCall:
    return make_call(purpose, "f", script, data, keys, ["ok"], ContractParameters(), added=added)


def test_texts_are_ascii_json_with_sorted_names_as_the_published_packages_spell_it() -> None:
    made = call({"b": [1, 2.0, 1e22, True, None], "a": "é\U0001f600\n/"}, {"z": {}, "y": "\x7f"})
    assert made.data == '{"a": "\\u00e9\\ud83d\\ude00\\n/", "b": [1, 2.0, 1e+22, true, null]}'
    assert made.keys == '{"y": "\\u007f", "z": {}}' or made.keys == '{"y": "\x7f", "z": {}}'
    assert made.script == SCRIPT and made.expected == ["ok"] and made.field == "f"


def test_a_condition_is_given_keys_even_if_they_are_null_and_a_script_is_given_none() -> None:
    assert call({}, None).keys == "null"
    assert call({}, {}).keys == "{}"
    assert call({}, None, purpose=Purpose.SCRIPT).keys is None


def test_the_seed_is_a_hash_of_tag_and_texts_with_their_lengths() -> None:
    def part(text: str) -> bytes:
        return len(text.encode()).to_bytes(8, "big") + text.encode()

    tag = b"planetmint contract 1"
    made = call({"a": 1}, {"k": "é"}, script="# é\n")
    assert made.seed == sha3_512(tag + part("# é\n") + part('{"a": 1}') + part('{"k": "\\u00e9"}')).digest()
    made = call({"a": 1}, purpose=Purpose.SCRIPT, script="# é\n")
    assert made.seed == sha3_512(tag + part("# é\n") + part('{"a": 1}')).digest()
    assert len(made.seed) == 64


def test_every_part_of_what_the_sender_wrote_changes_the_seed() -> None:
    seeds = {
        call({"a": 1}, {"k": 1}).seed,
        call({"a": 2}, {"k": 1}).seed,
        call({"a": 1}, {"k": 2}).seed,
        call({"a": 1}, {"k": 1}, script=SCRIPT + "#").seed,
        call({"a": 1}, None).seed,
        call({"a": 1}, {}).seed,
        call({"a": 1}, purpose=Purpose.SCRIPT).seed,
        call({}, {"a": 1}).seed,
    }
    assert len(seeds) == 8


def test_what_the_node_adds_stands_in_the_data_and_leaves_the_seed_alone() -> None:
    """So a contract that was tried out without a transaction draws the same random numbers on the chain."""
    plain, full = call({"a": 1}, {}), call({"a": 1}, {}, added={"transaction": {"message": "00"}})
    assert full.data == '{"a": 1, "transaction": {"message": "00"}}'
    assert plain.data == '{"a": 1}'
    assert full.seed == plain.seed


def test_nothing_that_the_sender_writes_stands_in_place_of_what_the_node_adds() -> None:
    made = call({"transaction": {"message": "mine"}, "a": 1}, {}, added={"transaction": {"message": "00"}})
    assert made.data == '{"a": 1, "transaction": {"message": "00"}}'
    assert made.seed == call({"transaction": {"message": "mine"}, "a": 1}, {}).seed


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_beyond_a_double_are_refused(value: float) -> None:
    with pytest.raises(InvalidScript) as caught:
        call({"a": [value]}, purpose=Purpose.SCRIPT)
    assert caught.value.rule == "contract.data"
