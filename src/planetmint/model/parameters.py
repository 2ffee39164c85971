# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chain parameters: what every validator must agree on, fixed when a chain is founded.

Source: consensus-and-storage 8.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from planetmint.model.json import JsonValue

RULES_VERSION = 1
"""The set of rules and the app hash definition that this package implements."""

ZenroomMode = Literal["bound", "published", "off"]
ScriptMode = Literal["on", "off"]

BOUNDS: Mapping[str, tuple[int, int]] = {
    "rules_version": (1, 1_000_000),
    "max_transaction_bytes": (1_024, 1_000_000),
    "max_json_depth": (16, 400),
    "max_number_digits": (20, 308),
    "max_inputs": (1, 10_000),
    "max_outputs": (1, 10_000),
    "max_condition_depth": (1, 64),
    "max_condition_leaves": (1, 10_000),
}
"""Least and highest value of each number; the settings that found chains have the same."""

CONTRACT_BOUNDS: Mapping[str, tuple[int, int]] = {
    "max_bytes": (1, 1_000_000),
    "max_data_bytes": (1, 1_000_000),
    "max_statements": (1, 100_000),
    "max_number": (1, 10_000_000),
    "max_per_block": (1, 100_000),
}
"""The same of contracts."""

CONTRACT_MODES: Mapping[str, tuple[str, ...]] = {
    "zenroom": get_args(ZenroomMode),
    "scripts": get_args(ScriptMode),
}
"""What the switches may be."""

MAX_ENGINE_NAME = 100
"""Characters that the name of a contract engine may have."""


@dataclass(frozen=True, slots=True)
class ContractParameters:
    """Bounds and switches of contracts; sizes in bytes, counts as integers."""

    zenroom: ZenroomMode = "off"
    scripts: ScriptMode = "off"
    engine: str | None = None
    max_bytes: int = 16_384
    max_data_bytes: int = 100_000
    max_statements: int = 200
    max_number: int = 10_000
    max_per_block: int = 200

    @property
    def on(self) -> bool:
        """Whether any contract can be run on this chain."""
        return self.zenroom != "off" or self.scripts != "off"


@dataclass(frozen=True, slots=True)
class ChainParameters:
    """Parameters of one chain; all of them are consensus rules and the same on every node."""

    rules_version: int = RULES_VERSION
    max_transaction_bytes: int = 700_000
    max_json_depth: int = 400
    max_number_digits: int = 308
    max_inputs: int = 1_000
    max_outputs: int = 1_000
    max_condition_depth: int = 16
    max_condition_leaves: int = 1_000
    contracts: ContractParameters = field(default_factory=ContractParameters)

    def to_json(self) -> dict[str, JsonValue]:
        """The parameters as they stand in a founding document."""
        return asdict(self)


def parameters_from_json(value: dict[str, JsonValue]) -> ChainParameters:
    """Read what `ChainParameters.to_json` wrote. Raises TypeError for unknown members."""
    contracts = value.get("contracts", {})
    rest = {name: item for name, item in value.items() if name != "contracts"}
    if not isinstance(contracts, dict):
        raise TypeError("contracts must be an object")
    return ChainParameters(**rest, contracts=ContractParameters(**contracts))  # type: ignore[arg-type]
