# SPDX-License-Identifier: AGPL-3.0-or-later
"""One run of a contract as values: what goes into the engine and what comes out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from planetmint.model.json import JsonValue


class Purpose(StrEnum):
    """Why a contract runs; it decides the class of a refusal."""

    SCRIPT = "script"
    """`script` of a 3.0 transaction (transactions 6): InvalidScript."""

    CONDITION = "condition"
    """A zenroom leaf of a fulfillment (transactions 5.4): InvalidSignature."""


@dataclass(frozen=True, slots=True)
class ContractCall:
    """One run of a contract, fully determined by the transaction and the chain's parameters.

    Attributes:
        field: Where it stands in the transaction: ``script``, ``inputs[0].fulfillment``.
        purpose: See `Purpose`.
        script: Zencode.
        data: JSON text, ASCII.
        keys: JSON text, ASCII; None where none are given.
        seed: 64 bytes for the engine's random numbers.
        expected: What the answer is compared with: `outputs` of the script (`output` in 2.0).
    """

    field: str
    purpose: Purpose
    script: str
    data: str
    keys: str | None
    seed: bytes
    expected: JsonValue


class EngineAnswer(NamedTuple):
    """What the engine printed, as it came: its result, and its messages for people."""

    output: bytes
    logs: bytes
