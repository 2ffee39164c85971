# SPDX-License-Identifier: AGPL-3.0-or-later
"""Failures of what the node depends on: "could not find out", never "invalid".

```
Exception
├── StoreError                the store did not answer or did not take a write; may pass by itself
│   ├── StoreFull             no room on the disk, or the disk takes no writes
│   └── LayoutError           the store's layout is of another version; needs an operator
├── EngineError               the consensus engine did not answer; may pass by itself
│   ├── MempoolFull           too many transactions wait already
│   ├── ChainMismatch         the engine runs another chain than the ledger's; needs an operator
│   ├── ChainHalted           the chain waits for its migration; needs an operator
│   └── CommitTimeout         no block held the transaction in time; it may still be committed
└── ContractError             a contract could not be run to its end here; says nothing about its transaction
    ├── ContractOverrun       it needs more time, memory or output than this node grants
    └── ContractsUnavailable  no worker runs, or too many contracts wait; may pass by itself
```
"""


class StoreError(Exception):
    """The store could not answer or could not take a write."""


class StoreFull(StoreError):
    """The disk has no room or takes no writes."""


class LayoutError(StoreError):
    """The store was written by another version of the layout; the message says what to do."""


class EngineError(Exception):
    """The consensus engine could not be reached or did not answer."""


class MempoolFull(EngineError):
    """Too many transactions wait for a block already."""


class CommitTimeout(EngineError):
    """The transaction was in no block in time; it may still be committed."""


class ChainHalted(EngineError):
    """A migration was decided: no block follows until an engine begins the chain under its new name."""


class ChainMismatch(EngineError):
    """The engine and the ledger are not of the same chain; the message says what is needed."""


class ContractError(Exception):
    """A contract could not be run to its end on this node; other nodes may run it."""


class ContractOverrun(ContractError):
    """A contract needs more than this node grants, or ended its process; the message says what was exceeded.

    Attributes:
        lasting: Whether the same run would end so again, because time, memory or output that is granted was
            exceeded. Where not, this machine may have ended it: it is not held against the contract.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


class ContractsUnavailable(ContractError):
    """No worker could be started, or too many contracts wait already."""
