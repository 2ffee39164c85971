# SPDX-License-Identifier: AGPL-3.0-or-later
"""The founding document: what its hash covers, and that it is read back as it was."""

import base64
import json
from hashlib import sha256
from typing import Any

import pytest

from planetmint.chain import UnknownRules, found_chain, founding_from_json, founding_header, founding_to_json
from planetmint.model.parameters import BOUNDS, CONTRACT_BOUNDS, ChainParameters, ContractParameters
from planetmint.model.validator import Validator

VALIDATORS = (Validator(b"\x01" * 32, 10), Validator(b"\x02" * 32, 5))


def contracts(**members: Any) -> ChainParameters:
    """Parameters with these of contracts, whatever their types are: foreign documents may hold anything."""
    return ChainParameters(contracts=ContractParameters(**members))


def test_hash_covers_name_parameters_and_validators() -> None:
    founding = found_chain("test-chain", ChainParameters(), VALIDATORS, time=5)
    document = {
        "chain_id": "test-chain",
        "parameters": {
            "rules_version": 1,
            "max_transaction_bytes": 700_000,
            "max_json_depth": 400,
            "max_number_digits": 308,
            "max_inputs": 1_000,
            "max_outputs": 1_000,
            "max_condition_depth": 16,
            "max_condition_leaves": 1_000,
            "contracts": {
                "zenroom": "off",
                "scripts": "off",
                "engine": None,
                "max_bytes": 16_384,
                "max_data_bytes": 100_000,
                "max_statements": 200,
                "max_number": 10_000,
                "max_per_block": 200,
            },
        },
        "validators": [
            {
                "public_key": {"type": "ed25519-base64", "value": base64.b64encode(key).decode()},
                "voting_power": power,
            }
            for key, power in VALIDATORS
        ],
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert founding.app_hash == sha256(text.encode()).hexdigest()
    labelled = json.dumps({**document, "time": 5}, sort_keys=True, separators=(",", ":"))
    assert founding.label == sha256(labelled.encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    "other",
    [
        found_chain("other", ChainParameters(), VALIDATORS, time=5),
        found_chain("test-chain", ChainParameters(max_inputs=999), VALIDATORS, time=5),
        found_chain("test-chain", ChainParameters(), VALIDATORS[:1], time=5),
    ],
)
def test_chains_founded_differently_part_at_once(other: object) -> None:
    founding = found_chain("test-chain", ChainParameters(), VALIDATORS, time=5)
    assert getattr(other, "app_hash") != founding.app_hash  # noqa: B009


def test_founding_is_read_back_as_it_was_written() -> None:
    founding = found_chain("test-chain", ChainParameters(max_outputs=7), VALIDATORS, time=1_234)
    assert founding_from_json(json.loads(json.dumps(founding_to_json(founding)))) == founding


def test_block_0_shows_the_founding() -> None:
    founding = found_chain("test-chain", ChainParameters(), VALIDATORS, time=9)
    header = founding_header(founding, b"\x01" * 32)
    assert (header.height, header.time, header.app_hash) == (0, 9, founding.app_hash)
    assert header.previous_hash == "0" * 64


@pytest.mark.parametrize("name", ["", "x" * 51])
def test_chain_ids_have_1_to_50_characters(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 50"):
        found_chain(name, ChainParameters(), VALIDATORS, time=0)


ENGINE = "zenroom 3.16.1"


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (ChainParameters(rules_version=2), "rules version 2.*start a version of the node"),
        (ChainParameters(contracts=ContractParameters(zenroom="bound")), "does not name the engine"),
        (ChainParameters(contracts=ContractParameters(zenroom="published")), "does not name the engine"),
        (ChainParameters(contracts=ContractParameters(scripts="on")), "does not name the engine"),
        (contracts(zenroom="maybe"), "`contracts.zenroom` must be one of bound, published, off"),
        (contracts(scripts=True), "`contracts.scripts` must be one of on, off"),
        (contracts(scripts="on", engine=""), "must be a name"),
        (contracts(scripts="on", engine="zenroom\n3.16.1"), "must be a name"),
        (contracts(scripts="on", engine=" zenroom"), "must be a name"),
        (contracts(scripts="on", engine="z\u00e9nroom 1"), "must be a name"),
        (contracts(engine="z" * 101), "must be a name"),
        (contracts(scripts="on", engine=3), "must be a name"),
    ],
)
def test_chains_that_this_version_cannot_follow_are_not_founded(parameters: ChainParameters, reason: str) -> None:
    with pytest.raises(UnknownRules, match=reason):
        found_chain("test-chain", parameters, VALIDATORS, time=0)


@pytest.mark.parametrize(
    "contracts",
    [
        ContractParameters(zenroom="bound", engine=ENGINE),
        ContractParameters(zenroom="published", scripts="on", engine=ENGINE),
        ContractParameters(scripts="on", engine="zencode-exec v5.0.0-abcdef"),
        ContractParameters(engine=ENGINE),
        ContractParameters(),
    ],
)
def test_chains_with_and_without_contracts_are_founded(contracts: ContractParameters) -> None:
    parameters = ChainParameters(contracts=contracts)
    assert found_chain("test-chain", parameters, VALIDATORS, time=0).parameters == parameters


@pytest.mark.parametrize(("name", "bounds"), [*BOUNDS.items(), *CONTRACT_BOUNDS.items()])
def test_storage_8_numbers_of_foreign_founding_documents_are_within_their_bounds(
    name: str, bounds: tuple[int, int]
) -> None:
    for value in (bounds[0] - 1, bounds[1] + 1, "7", 7.0, True, None):
        parameters = contracts(**{name: value}) if name in CONTRACT_BOUNDS else ChainParameters(**{name: value})  # type: ignore[arg-type]
        with pytest.raises(UnknownRules, match=f"{name}|rules version"):
            found_chain("test-chain", parameters, VALIDATORS, time=0)


def test_validator_whose_key_no_output_can_list_founds_no_chain() -> None:
    # Base58 gives leading zero bytes a character each: this key has 41, and outputs take 43 or 44.
    short = Validator(bytes(3) + b"\x01" * 29, 10)
    with pytest.raises(ValueError, match="too short in base58"):
        found_chain("test-chain", ChainParameters(), (*VALIDATORS, short), time=5)
