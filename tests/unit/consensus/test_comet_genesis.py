# SPDX-License-Identifier: AGPL-3.0-or-later
"""`app_state` of a genesis (consensus-and-storage 8): what is followed, and what is refused by its name."""

import json
import typing
from typing import Any

import msgspec
import pytest

from planetmint.consensus.cometbft.genesis import Genesis, read_app_state
from planetmint.model.parameters import BOUNDS, CONTRACT_BOUNDS, ChainParameters, ContractParameters
from planetmint.ports.consensus import Migrated
from planetmint.ports.errors import ChainMismatch
from planetmint.runtime.settings import ChainSettings, ContractSettings


def text(parameters: Any) -> bytes:
    return json.dumps({"planetmint": {"parameters": parameters}}).encode()


@pytest.mark.parametrize("empty", [b"", b"  \n", b"{}", b'{"planetmint":{}}', b'{"other":{"a":1}}'])
def test_a_genesis_that_says_nothing_stands_for_the_defaults(empty: bytes) -> None:
    assert read_app_state(empty) == Genesis(ChainParameters())


@pytest.mark.parametrize(
    "genesis",
    [
        Genesis(ChainParameters()),
        Genesis(ChainParameters(max_inputs=5, contracts=ContractParameters(max_bytes=9))),
        Genesis(ChainParameters(), Migrated(12, "ab" * 32, "0123abcd")),
    ],
)
def test_what_is_written_is_read(genesis: Genesis) -> None:
    assert read_app_state(json.dumps(genesis.to_json()).encode()) == genesis


def test_members_that_are_missing_have_their_defaults() -> None:
    assert read_app_state(text({"max_outputs": 7})).parameters == ChainParameters(max_outputs=7)


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("value", ["low", "high", True, 7.0, "7", None, [], 2**70])
def test_a_number_out_of_its_bounds_is_refused_by_name(name: str, value: Any) -> None:
    least, highest = BOUNDS[name]
    value = {"low": least - 1, "high": highest + 1}.get(value, value) if isinstance(value, str) else value
    with pytest.raises(ChainMismatch, match=f"`{name}`|genesis"):
        read_app_state(text({name: value}))


@pytest.mark.parametrize("name", CONTRACT_BOUNDS)
def test_a_number_of_the_contracts_out_of_its_bounds_is_refused_by_name(name: str) -> None:
    for value in (CONTRACT_BOUNDS[name][0] - 1, CONTRACT_BOUNDS[name][1] + 1):
        with pytest.raises(ChainMismatch, match=f"`{name}`"):
            read_app_state(text({"contracts": {name: value}}))


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (b"[]", "app_state"),
        (b"{", "app_state"),
        (b'"\xff"', "app_state"),
        (b'{"planetmint":[]}', "planetmint"),
        (b'{"planetmint":{"validators":[]}}', "validators"),
        (text([]), "parameters"),
        (text({"max_fees": 1}), "max_fees"),
        (text({"contracts": 1}), "contracts"),
        (text({"contracts": {"zenroom": "yes"}}), "zenroom"),
        (text({"contracts": {"scripts": None}}), "scripts"),
        (text({"contracts": {"engine": 1}}), "engine"),
        (text({"contracts": {"gas": 1}}), "gas"),
        (b'{"planetmint":{"migrated_from":{"height":1,"app_hash":"a"}}}', "migrated_from"),
        (b'{"planetmint":{"migrated_from":{"height":"1","app_hash":"a","label":"b"}}}', "height"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(state: bytes, name: str) -> None:
    with pytest.raises(ChainMismatch, match=name):
        read_app_state(state)


def bounds_of(settings: type[msgspec.Struct], name: str) -> tuple[int, int]:
    """The bounds of a setting that founds chains."""
    hint = typing.get_type_hints(settings, include_extras=True)[name]
    (meta,) = [item for item in hint.__metadata__ if item.ge is not None]
    return meta.ge, meta.le


def test_the_bounds_are_those_of_the_settings_that_found_chains() -> None:
    for name, bounds in BOUNDS.items():
        if name != "rules_version":
            assert bounds_of(ChainSettings, name) == bounds
    for name, bounds in CONTRACT_BOUNDS.items():
        assert bounds_of(ContractSettings, name) == bounds
