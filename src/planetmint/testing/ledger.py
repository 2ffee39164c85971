# SPDX-License-Identifier: AGPL-3.0-or-later
"""Ledgers in memory for tests: transactions as bytes go in, verdicts come out, by the rules of the chain."""

from collections.abc import Callable, Iterable, Mapping

from planetmint.chain import BlockResult, admit, execute_block
from planetmint.contracts import ContractCall, EngineAnswer, judge
from planetmint.model.election import ChainRecord, ElectionRecord
from planetmint.model.errors import InvalidTransaction
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import OutputRecord, OutputRef, Transaction
from planetmint.model.validator import ValidatorSet
from planetmint.rules import (
    SignatureCheck,
    check_signatures,
    created_outputs,
    decode_canonical,
    decode_transaction,
)
from planetmint.rules.contracts import contract_calls
from planetmint.state.overlay import Overlay

Engine = Callable[[ContractCall], EngineAnswer]
"""Runs a contract here and now."""


def check_with(engine: Engine | None, parameters: ChainParameters) -> SignatureCheck:
    """What a node checks without the ledger: signatures, then the contracts in their order.

    Args:
        engine: None for tests without contracts.
        parameters: The chain's.
    """

    def check(transaction: Transaction) -> None:
        check_signatures(transaction)
        for call in contract_calls(transaction, parameters) if transaction.contracts else ():
            assert engine is not None, "this ledger was given no engine for contracts"
            refusal = judge(call, engine(call), parameters)
            if refusal is not None:
                raise refusal

    return check


class EmptyLedger:
    """A `StateView` of a chain without transactions; elections may be made up."""

    def __init__(
        self, validators: ValidatorSet = (), elections: Mapping[str, ElectionRecord] | None = None
    ) -> None:
        self._validators = validators
        self._elections = elections or {}

    def has_transaction(self, transaction_id: str) -> bool:
        """See `StateView`."""
        return False

    def output(self, ref: OutputRef) -> OutputRecord | None:
        """See `StateView`."""
        return None

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return self._validators

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return (1,)

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`."""
        return self._elections.get(election_id)

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return ChainRecord("tests")


class Ledger:
    """Takes transactions one after the other, each on top of those before."""

    def __init__(
        self,
        parameters: ChainParameters | None = None,
        validators: ValidatorSet = (),
        engine: Engine | None = None,
    ) -> None:
        self._parameters = parameters or ChainParameters()
        self._overlay = Overlay(EmptyLedger(validators))
        self._check = check_with(engine, self._parameters)

    def take(self, body: bytes) -> Transaction:
        """Add a transaction.

        Args:
            body: JSON in any spelling.

        Raises:
            InvalidTransaction: It breaks a rule; nothing was added.
        """
        transaction = decode_transaction(body, self._parameters)
        return admit(transaction, self._overlay, self._check)[0]

    def take_all(self, bodies: Iterable[bytes]) -> None:
        """Add transactions that have to be valid.

        Raises:
            AssertionError: One of them was refused: the test is wrong, not the product.
        """
        for number, body in enumerate(bodies):
            try:
                self.take(body)
            except InvalidTransaction as error:
                raise AssertionError(f"transaction {number} is refused: {error.code}: {error.reason}") from error

    def verdict(self, body: bytes) -> InvalidTransaction | None:
        """Why a transaction is refused here; None where it was accepted (and added)."""
        try:
            self.take(body)
        except InvalidTransaction as error:
            return error
        return None


class BlockLedger(Overlay):
    """Takes whole blocks one after the other; elections take their effect.

    Attributes:
        height: Of the newest block, 0 before the first.
        app_hash: After it.
        sets: Validator sets with the height from which each holds, oldest first.
        elections: Records by election id, as they are now.
        chain_record: The newest.
    """

    def __init__(
        self,
        validators: ValidatorSet,
        chain_id: str = "tests",
        parameters: ChainParameters | None = None,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(EmptyLedger(validators))
        self._parameters = parameters or ChainParameters()
        self._check = check_with(engine, self._parameters)
        self.height = 0
        self.app_hash = "00" * 32
        self.sets: list[tuple[int, ValidatorSet]] = [(1, validators)]
        self.elections: dict[str, ElectionRecord] = {}
        self.chain_record = ChainRecord(chain_id)

    def validators(self) -> ValidatorSet:
        """See `StateView`."""
        return self.sets[-1][1]

    def validator_changes(self) -> tuple[int, ...]:
        """See `StateView`."""
        return tuple(height for height, _ in self.sets[:-3:-1])

    def election(self, election_id: str) -> ElectionRecord | None:
        """See `StateView`."""
        return self.elections.get(election_id)

    def chain(self) -> ChainRecord:
        """See `StateView`."""
        return self.chain_record

    def block(self, *bodies: bytes) -> BlockResult:
        """Execute the next block of these canonical transactions and keep what it does."""
        candidates = [self._candidate(body) for body in bodies]
        result = execute_block(self, self.height + 1, candidates, self.app_hash, self._check)
        for transaction in result.transactions:
            self.apply(transaction.id, transaction.spends, created_outputs(transaction))
        self.height, self.app_hash = result.height, result.app_hash
        self.elections.update((record.election_id, record) for record in result.elections)
        self.chain_record = result.chain or self.chain_record
        if result.validators is not None:
            self.sets.append((result.height + 1, result.validators))
        return result

    def good_block(self, *bodies: bytes) -> BlockResult:
        """As `block`, for transactions that have to be valid.

        Raises:
            AssertionError: One of them was refused: the test is wrong, not the product.
        """
        result = self.block(*bodies)
        refused = [verdict for verdict in result.verdicts if verdict is not None]
        if refused:
            raise AssertionError(f"refused: {refused[0].code}: {refused[0].reason}") from refused[0]
        return result

    def _candidate(self, body: bytes) -> Transaction | InvalidTransaction:
        try:
            return decode_canonical(body, self._parameters)
        except InvalidTransaction as verdict:
            return verdict
