# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs contracts in worker processes: in the order of the calls, whatever becomes of a worker."""

from dataclasses import dataclass

from planetmint.contracts import ContractCall
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ContractsUnavailable
from planetmint.sandbox.engine import EngineKind
from planetmint.sandbox.layers import Layer


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one run may use at admission; `Patience` says how it grows.

    Attributes:
        seconds: Processor time.
        memory_bytes: Resident memory beyond what the worker has before the run.
        output_bytes: Of the result and of the messages, each; the same at every patience.
    """

    seconds: float = 1.0
    memory_bytes: int = 256 << 20
    output_bytes: int = 1 << 20


class SandboxPool:
    """A `ContractEngine`: `workers` processes, each of which runs one contract at a time in a fresh, jailed fork."""

    def __init__(self, kind: EngineKind, limits: SandboxLimits = SandboxLimits(), workers: int = 2) -> None:
        self._kind = kind
        self._limits = limits
        self._workers = workers
        self.layers: tuple[Layer, ...] = ()
        """The walls around a contract, as the first worker reported them; empty before `start`."""

    @property
    def name(self) -> str:
        return self._kind.name

    @property
    def width(self) -> int:
        return self._workers

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes of the workers that are up."""
        return ()

    async def start(self) -> None:
        """Return when the first worker is up; the others follow.

        Raises:
            ContractsUnavailable: No worker can be started; the message says what to do.
        """

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        """See `ContractEngine.run`. Raises ContractsUnavailable also when the pool is closed."""
        raise ContractsUnavailable("the contract workers are not started")

    async def close(self) -> None:
        """End all workers and the runs in them; waiting calls get ContractsUnavailable."""
