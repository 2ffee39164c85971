# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names of error classes are part of the Web API: clients read them in messages (http-api 4.3, validation 3.1)."""

import pytest

from planetmint.model import errors
from planetmint.model.errors import InvalidTransaction, InvariantViolated
from planetmint.ports import errors as failures

INVALID = {
    *("SchemaValidationError", "InvalidHash", "ValidationError", "AmountError", "InvalidSignature"),
    *("ThresholdTooDeep", "InvalidPublicKey", "InvalidScript", "DuplicateTransaction", "InputDoesNotExist"),
    *("DoubleSpend", "AssetIdMismatch", "TransactionOwnerError", "MultipleInputsError", "InvalidProposer"),
    *("UnequalValidatorSet", "InvalidPowerChange", "TransactionTooLarge"),
}
FAILED = {
    *("StoreError", "StoreFull", "LayoutError", "EngineError", "MempoolFull", "CommitTimeout"),
    *("ChainHalted", "ChainMismatch", "ContractError", "ContractOverrun", "ContractsUnavailable"),
}


def classes(module: object) -> dict[str, type]:
    return {name: value for name, value in vars(module).items() if isinstance(value, type)}


def test_names_of_refusals_are_these() -> None:
    below = {name for name, kind in classes(errors).items() if issubclass(kind, InvalidTransaction)}
    assert below - {"InvalidTransaction"} == INVALID


def test_names_of_failures_are_these() -> None:
    assert set(classes(failures)) == FAILED


@pytest.mark.parametrize("name", sorted(INVALID))
def test_a_refusal_shows_its_class_reason_rule_and_field(name: str) -> None:
    error = classes(errors)[name]("because", rule="some.rule", field="outputs[0]")
    assert (error.code, error.reason, str(error)) == (name, "because", "because")
    assert (error.rule, error.field) == ("some.rule", "outputs[0]")


def test_the_three_kinds_are_never_mixed() -> None:
    kinds = (InvalidTransaction, failures.StoreError, failures.EngineError, InvariantViolated)
    for kind in kinds:
        assert [other for other in kinds if issubclass(kind, other)] == [kind]
