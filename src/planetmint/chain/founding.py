# SPDX-License-Identifier: AGPL-3.0-or-later
"""The founding document: what a chain's first hash commits to. Source: consensus-and-storage 3 and 8."""

import base64
import re
from collections.abc import Mapping
from hashlib import sha256

from planetmint.chain.merkle import merkle_root
from planetmint.model import json
from planetmint.model.block import BlockHeader, Founding
from planetmint.model.election import MAX_CHAIN_ID
from planetmint.model.json import JsonObject
from planetmint.model.keys import decode_public_key, encode_public_key
from planetmint.model.parameters import (
    BOUNDS,
    CONTRACT_BOUNDS,
    CONTRACT_MODES,
    MAX_ENGINE_NAME,
    RULES_VERSION,
    ChainParameters,
    ContractParameters,
    parameters_from_json,
)
from planetmint.model.validator import Validator, ValidatorSet

NO_HEADER = "0" * 64
"""Stands for the header before the first."""

_ENGINE_NAME = re.compile("[!-~]|[!-~][ -~]*[!-~]")
"""Printable ASCII without blanks at its ends."""


class UnknownRules(ValueError):
    """A chain whose parameters this version of the node cannot follow; the message says why."""


def found_chain(chain_id: str, parameters: ChainParameters, validators: ValidatorSet, time: int) -> Founding:
    """Make the founding of a chain.

    Args:
        chain_id: 1 to 50 characters.
        parameters: See `check_parameters`.
        validators: The first set.
        time: Nanoseconds since 1970-01-01T00:00:00Z.

    Raises:
        UnknownRules: Parameters that this version cannot follow.
        ValueError: A chain id of a wrong length, or a validator whose key no output can list.
    """
    if not 1 <= len(chain_id) <= MAX_CHAIN_ID:
        raise ValueError(f"a chain id has 1 to {MAX_CHAIN_ID} characters, this one {len(chain_id)}")
    for validator in validators:
        # An election gives an output to every validator: one that no output can name would end all elections.
        if decode_public_key(encode_public_key(validator.public_key)) is None:
            key = validator.public_key.hex()
            raise ValueError(f"the validator key {key} is too short in base58: make another one")
    check_parameters(parameters)
    document: JsonObject = {
        "chain_id": chain_id,
        "parameters": parameters.to_json(),
        "validators": [validator.to_json() for validator in validators],
    }
    digest = sha256(json.canonical(document)).hexdigest()
    label = sha256(json.canonical({**document, "time": time})).hexdigest()[:8]
    return Founding(chain_id, parameters, validators, time, label, digest)


def check_parameters(parameters: ChainParameters) -> None:
    """Refuse a chain that this version cannot follow, whoever wrote its parameters.

    Which contract engine this machine has is not asked here: a chain is followed by its records alone until a
    contract has to be run.

    Raises:
        UnknownRules: Says what is unknown or makes no sense; the message tells what to do.
    """
    if parameters.rules_version != RULES_VERSION:
        raise UnknownRules(
            f"the chain follows rules version {parameters.rules_version}, this node knows {RULES_VERSION}: start "
            "a version of the node that knows them"
        )
    _check_numbers(parameters, BOUNDS, "")
    _check_numbers(parameters.contracts, CONTRACT_BOUNDS, "contracts.")
    _check_contracts(parameters.contracts)


def _check_numbers(holder: object, bounds: Mapping[str, tuple[int, int]], prefix: str) -> None:
    for name, (least, highest) in bounds.items():
        value = getattr(holder, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= highest:
            raise _senseless(
                f"`{prefix}{name}` must be a whole number from {least} to {highest}, not {value!r:.60}"
            )


def _check_contracts(contracts: ContractParameters) -> None:
    for name, modes in CONTRACT_MODES.items():
        value = getattr(contracts, name)
        if value not in modes:
            raise _senseless(f"`contracts.{name}` must be one of {', '.join(modes)}, not {value!r:.60}")
    engine = contracts.engine
    if engine is None:
        if contracts.on:
            raise _senseless(
                "it runs contracts, and `contracts.engine` does not name the engine that all nodes use"
            )
        return
    if not isinstance(engine, str) or len(engine) > MAX_ENGINE_NAME or not _ENGINE_NAME.fullmatch(engine):
        raise _senseless(f"`contracts.engine` must be a name like `zenroom 3.16.1`, not {engine!r:.60}")


def _senseless(reason: str) -> UnknownRules:
    return UnknownRules(f"the chain's parameters cannot be followed: {reason}")


def founding_header(founding: Founding, proposer: bytes) -> BlockHeader:
    """Unsigned header of block 0, which holds no transactions."""
    return BlockHeader(
        height=0,
        time=founding.time,
        previous_hash=NO_HEADER,
        root=merkle_root(()),
        app_hash=founding.app_hash,
        proposer=proposer.hex(),
    )


def founding_to_json(founding: Founding) -> JsonObject:
    """The founding as stores and genesis files keep it."""
    return {
        "app_hash": founding.app_hash,
        "chain_id": founding.chain_id,
        "label": founding.label,
        "parameters": founding.parameters.to_json(),
        "time": founding.time,
        "validators": [validator.to_json() for validator in founding.validators],
    }


def founding_from_json(value: JsonObject) -> Founding:
    """Read what `founding_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: It was written by somebody else.
    """
    parameters, validators = value["parameters"], value["validators"]
    if not isinstance(parameters, dict) or not isinstance(validators, list):
        raise TypeError("a founding holds parameters and validators")
    time = value["time"]
    if not isinstance(time, int):
        raise TypeError("the time of a founding is an integer")
    return Founding(
        chain_id=str(value["chain_id"]),
        parameters=parameters_from_json(parameters),
        validators=tuple(validator_from_json(item) for item in validators if isinstance(item, dict)),
        time=time,
        label=str(value["label"]),
        app_hash=str(value["app_hash"]),
    )


def validator_from_json(value: JsonObject) -> Validator:
    """Read what `Validator.to_json` wrote."""
    public_key, power = value["public_key"], value["voting_power"]
    if not isinstance(public_key, dict) or not isinstance(power, int):
        raise TypeError("a validator has a public_key and a voting_power")
    return Validator(base64.b64decode(str(public_key["value"])), power)
