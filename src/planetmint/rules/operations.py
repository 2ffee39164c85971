# SPDX-License-Identifier: AGPL-3.0-or-later
"""The operation table: which operations each version has, and what their structure must be.

Source: transactions 3. The ledger rules of each operation are in the module of its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from planetmint.model.transaction import Operation


@dataclass(frozen=True, slots=True)
class Form:
    """Structure of one operation in one version.

    Attributes:
        operation: Its name.
        least_inputs, most_inputs: Number of inputs; no upper bound of its own for None.
        spending: Whether inputs spend outputs: always (True), never (False), or may (None).
        electoral: Whether it opens an election or votes: each output is then locked to a single ed25519 key, and
            names inside metadata are free (transactions 2.4 and 3).
    """

    operation: Operation
    least_inputs: int
    most_inputs: int | None
    spending: bool | None
    electoral: bool = False


_OPENING = {
    operation.value: Form(operation, 1, 1, False, electoral=True)
    for operation in (Operation.VALIDATOR_ELECTION, Operation.CHAIN_MIGRATION_ELECTION)
}
_VOTE = Form(Operation.VOTE, 1, None, True, electoral=True)

FORMS: Mapping[tuple[str, str], Form] = {
    ("2.0", "CREATE"): Form(Operation.CREATE, 1, 1, False),
    ("2.0", "TRANSFER"): Form(Operation.TRANSFER, 1, None, True),
    ("3.0", "CREATE"): Form(Operation.CREATE, 1, 1, None),
    ("3.0", "TRANSFER"): Form(Operation.TRANSFER, 1, None, True),
    ("3.0", "COMPOSE"): Form(Operation.COMPOSE, 1, None, True),
    ("3.0", "DECOMPOSE"): Form(Operation.DECOMPOSE, 1, 1, True),
    **{(version, name): form for version in ("2.0", "3.0") for name, form in _OPENING.items()},
    ("2.0", "VOTE"): _VOTE,
    ("3.0", "VOTE"): _VOTE,
}
"""By version and operation as they stand on the wire."""
