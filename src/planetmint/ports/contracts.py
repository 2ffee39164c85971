# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contract engine as the node sees it: one contract in, the engine's answer out, whatever the contract does.

What a local cap stops is never a verdict: it is reported as `ContractOverrun`, and what that means depends on
where the transaction stands (transactions 6, decision D15).
"""

from enum import StrEnum
from typing import NamedTuple, Protocol

from planetmint.contracts import ContractCall, EngineAnswer


class Patience(StrEnum):
    """How long a contract may run, from least to most."""

    ADMISSION = "admission"
    """A transaction asks to be taken: HTTP, CheckTx, PrepareProposal."""

    PROPOSAL = "proposal"
    """A block is proposed by another node, whose machine may be faster: more than for admission."""

    DECIDED = "decided"
    """A block is decided: no limit of time or memory."""


class Execution(NamedTuple):
    """A finished run.

    Attributes:
        answer: What the engine printed.
        cpu: Seconds of processor time.
        memory: Highest resident memory in bytes.
    """

    answer: EngineAnswer
    cpu: float
    memory: int


class ContractEngine(Protocol):
    """Runs contracts somewhere safe, several at a time."""

    @property
    def name(self) -> str:
        """Name and version as in the chain parameter `contracts.engine`, e.g. ``zenroom 3.16.1``."""
        ...

    @property
    def width(self) -> int:
        """Contracts that run at the same time; more wait for their turn in the order of the calls."""
        ...

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        """Run one contract; equal calls get equal answers, on every node and in every run.

        A cancelled call ends its run.

        Raises:
            ContractOverrun: It needed more time, memory or output than `patience` grants, or ended the engine's
                process; the message says which.
            ContractsUnavailable: No worker could be started.
        """
        ...
