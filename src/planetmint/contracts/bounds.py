# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is refused without running it: contracts whose text says that they may be too much work."""

import re

from planetmint.contracts.call import Purpose
from planetmint.contracts.refusal import refusal
from planetmint.model.parameters import ContractParameters

_DEBUG = re.compile(r"\b(?:debug|trace|schema|codec|config)\b", re.IGNORECASE)


def check_bounds(
    purpose: Purpose, field: str, script: str, data: str, keys: str | None, parameters: ContractParameters
) -> None:
    """Hold the texts of a contract against the chain's bounds.

    Raises:
        InvalidScript, InvalidSignature: By purpose; rules ``contract.bytes``, ``contract.data``,
            ``contract.statements``, ``contract.debug``, ``contract.number``.
    """
    size = len(script.encode())
    if size > parameters.max_bytes:
        reason = f"the contract has {size} bytes, {parameters.max_bytes} are allowed"
        raise refusal(purpose, field, "contract.bytes", reason)
    if "\0" in script:
        raise refusal(purpose, field, "contract.bytes", "the contract holds a NUL character")
    size = len(data) + len(keys or "")
    if size > parameters.max_data_bytes:
        reason = f"data and keys of the contract have {size} bytes, {parameters.max_data_bytes} are allowed"
        raise refusal(purpose, field, "contract.data", reason)
    lines = [line.strip() for line in script.split("\n")]
    statements = [line for line in lines if line and not line.startswith("#")]
    if len(statements) > parameters.max_statements:
        reason = f"the contract has {len(statements)} statements, {parameters.max_statements} are allowed"
        raise refusal(purpose, field, "contract.statements", reason)
    for line in statements:
        if _DEBUG.search(line):
            raise refusal(purpose, field, "contract.debug", f"statements for debugging are refused: {line[:80]}")
