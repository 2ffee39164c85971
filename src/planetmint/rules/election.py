# SPDX-License-Identifier: AGPL-3.0-or-later
"""VALIDATOR_ELECTION and CHAIN_MIGRATION_ELECTION: a validator asks the validators. Source: validation 4.4."""

from planetmint.model.condition import Ed25519Details
from planetmint.model.election import candidate
from planetmint.model.errors import (
    DuplicateTransaction,
    InvalidProposer,
    MultipleInputsError,
    UnequalValidatorSet,
)
from planetmint.model.keys import encode_public_key
from planetmint.model.transaction import Operation, Transaction
from planetmint.model.validator import ValidatorSet, change_validators
from planetmint.rules.spending import SignatureCheck, check_owners
from planetmint.state.view import StateView


def verify(transaction: Transaction, view: StateView, check: SignatureCheck) -> None:
    """Hold an election against the ledger: rules 1 to 6 in this order, on the newest stored validator set.

    Raises:
        DuplicateTransaction: The id is in the ledger.
        InvalidSignature: A signature fails, or somebody else signed.
        MultipleInputsError: More than one owner of its input.
        InvalidProposer: The owner is no validator.
        UnequalValidatorSet: The outputs are not the validators with their powers.
        InvalidPowerChange: See `change_validators`.
    """
    if view.has_transaction(transaction.id):
        reason = f"transaction `{transaction.id}` already exists"
        raise DuplicateTransaction(reason, rule="election.duplicate", field="id")
    check(transaction)
    check_owners(transaction)
    owners = transaction.inputs[0].owners_before
    if len(owners) != 1:
        raise MultipleInputsError(
            "`tx_signers` must be a list instance of length one",
            rule="election.one_owner",
            field="inputs[0].owners_before",
        )
    validators = view.validators()
    powers = {encode_public_key(validator.public_key): validator.power for validator in validators}
    if owners[0] not in powers:
        raise InvalidProposer(
            "Public key is not a part of the validator set",
            rule="election.proposer",
            field="inputs[0].owners_before",
        )
    _check_voters(transaction, powers)
    _check_change(transaction, validators)


def _check_voters(transaction: Transaction, powers: dict[str, int]) -> None:
    """Rule 5: one output for each validator, of its power, that it alone can spend; in any order."""
    voters: dict[str, int] = {}
    for output in transaction.outputs:
        # A validator listed without its key in the condition could not vote, and somebody else could.
        if len(output.public_keys) != 1 or output.details != Ed25519Details(output.public_keys[0]):
            break
        voters[output.public_keys[0]] = output.amount
    if voters != powers or len(transaction.outputs) != len(powers):
        raise UnequalValidatorSet(
            "Validator set much be exactly same to the outputs of election",
            rule="election.voters",
            field="outputs",
        )


def _check_change(transaction: Transaction, validators: ValidatorSet) -> None:
    """Rule 6."""
    if transaction.operation is Operation.VALIDATOR_ELECTION:
        change_validators(validators, candidate(transaction.assets[0]))
