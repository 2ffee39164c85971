# SPDX-License-Identifier: AGPL-3.0-or-later
"""Everything that can be wrong with a transaction, and the one error that means a bug.

```
Exception
├── InvalidTransaction            expected: the sender's fault, answered with a stable class name
│   ├── SchemaValidationError     structure, types, patterns, unknown members, version, operation
│   ├── InvalidHash               the id is not the hash of the content
│   ├── ValidationError           key rules, language rule, rules about members that are well-formed
│   ├── AmountError               an amount out of range, or amounts that do not balance
│   ├── InvalidSignature          a fulfillment that cannot be read, does not fit or does not verify
│   ├── ThresholdTooDeep          conditions nested deeper than the chain allows
│   ├── InvalidPublicKey          the key of a validator election
│   ├── InvalidScript             a script that is refused or gave another result
│   ├── DuplicateTransaction      the id is known already
│   ├── InputDoesNotExist         a reference to an output that nobody made
│   ├── DoubleSpend               a reference to an output that is spent
│   ├── AssetIdMismatch           assets of inputs and transaction differ
│   ├── TransactionOwnerError     an owner who may not do that
│   ├── MultipleInputsError       an election with more than one initiator
│   ├── InvalidProposer           an election by somebody who is no validator
│   ├── UnequalValidatorSet       an election whose voters are not the validators
│   ├── InvalidPowerChange        an election that asks for a power that is not allowed
│   └── TransactionTooLarge       the canonical form is longer than the chain allows
└── InvariantViolated             a bug or a store that has gone wrong: the node stops
```

The class names are part of the HTTP API (http-api 4.3) and pinned by a test.
"""


class InvalidTransaction(Exception):
    """A transaction that breaks a rule.

    Attributes:
        reason: One sentence for people; what stands in HTTP messages after the class name.
        rule: Stable identifier of the broken rule, like ``transfer.amounts``.
        field: Path of the member at fault, like ``outputs[0].amount``; None when it is the whole.
    """

    def __init__(self, reason: str, *, rule: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rule = rule
        self.field = field

    @property
    def code(self) -> str:
        """The stable class name that clients see."""
        return type(self).__name__


class SchemaValidationError(InvalidTransaction):
    """Structure, types, patterns, unknown members, version or operation."""


class InvalidHash(InvalidTransaction):
    """The id is missing or is not the hash of the content."""


class ValidationError(InvalidTransaction):
    """A well-formed member that breaks a rule."""


class AmountError(InvalidTransaction):
    """An amount out of range, or amounts that do not balance."""


class InvalidSignature(InvalidTransaction):
    """A fulfillment that cannot be read, does not fit its condition or does not verify."""


class ThresholdTooDeep(InvalidTransaction):
    """Conditions nested deeper than the chain allows."""


class InvalidPublicKey(InvalidTransaction):
    """The candidate's key in a validator election cannot be read."""


class InvalidScript(InvalidTransaction):
    """A script that this chain refuses, or that did not produce what it declares."""


class DuplicateTransaction(InvalidTransaction):
    """The id is committed, earlier in the block, or waiting already."""


class InputDoesNotExist(InvalidTransaction):
    """An input refers to an output that does not exist."""


class DoubleSpend(InvalidTransaction):
    """An input refers to an output that is spent."""


class AssetIdMismatch(InvalidTransaction):
    """The assets of the inputs and of the transaction differ."""


class TransactionOwnerError(InvalidTransaction):
    """An owner who may not do that."""


class MultipleInputsError(InvalidTransaction):
    """An election with more than one initiator."""


class InvalidProposer(InvalidTransaction):
    """An election by somebody who is no validator."""


class UnequalValidatorSet(InvalidTransaction):
    """An election whose outputs are not the validator set."""


class InvalidPowerChange(InvalidTransaction):
    """An election that asks for a power that is not allowed."""


class TransactionTooLarge(InvalidTransaction):
    """The canonical form is longer than the chain parameter ``max_transaction_bytes``."""


class InvariantViolated(Exception):
    """Something that cannot be: a bug, or a store that has gone wrong. The node stops with a message."""
