# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs contracts in worker processes: in the order of the calls, whatever becomes of a worker.

Each worker has a task that keeps it: starts it, hands it one contract after the other, and replaces it when it
dies or falls silent. A worker ends with the thread that started it, so a pool lives in the node's event loop.
"""

import asyncio
import functools
import itertools
from collections import deque
from dataclasses import dataclass

import structlog

from planetmint.contracts import ContractCall, EngineAnswer
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.sandbox import frames
from planetmint.sandbox.connection import Reply, WorkerConnection, WorkerLost, start_worker
from planetmint.sandbox.engine import EngineKind
from planetmint.sandbox.layers import Layer

_FIRST_BACKOFF, _LAST_BACKOFF = 0.05, 5.0
_ATTEMPTS = 2
"""Workers in which a contract is tried. A loss says nothing about the contract, which cannot reach its worker."""
_WALL_SHARE, _WALL_EXTRA = 60.0, 60.0
"""A run may take this many times its processor time by the clock on the wall, and this much more: on a busy
machine contracts wait for everybody else."""

DECIDED_OUTPUT_BYTES = 64 << 20
"""Of a result in a decided block: no bound of a node, so that all come to the same. It is the most that a node may
grant at admission and in proposals, so nothing that honest validators agreed to is stopped by it."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one run may use at admission; `Patience` says how it grows.

    Attributes:
        seconds: Processor time.
        memory_bytes: Resident memory beyond what the worker has before the run.
        output_bytes: Of the result, in proposals too; of a decided block's, `DECIDED_OUTPUT_BYTES`.
    """

    seconds: float = 1.0
    memory_bytes: int = 256 << 20
    output_bytes: int = 1 << 20


@dataclass(slots=True, eq=False)
class _Call:
    """A call that waits or runs."""

    number: int
    job: frames.Job
    result: asyncio.Future[Execution]
    attempts: int = 0
    connection: WorkerConnection | None = None
    """While it runs."""


class SandboxPool:
    """A `ContractEngine`: worker processes, each of which runs one contract at a time in a fresh, jailed fork."""

    def __init__(self, kind: EngineKind, limits: SandboxLimits | None = None, workers: int = 2) -> None:
        self._kind = kind
        self._limits = limits or SandboxLimits()
        self._workers = workers
        self._waiting = deque[_Call]()
        self._free = deque[WorkerConnection]()
        self._running: dict[WorkerConnection, _Call] = {}
        self._up: list[WorkerConnection] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._numbers = itertools.count(1)
        self._answered = 0
        self._started: asyncio.Future[None] | None = None
        self._closed = False
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
        return tuple(connection.process.pid for connection in self._up)

    async def start(self) -> None:
        """Return when the first worker is up; the others follow.

        Raises:
            ContractsUnavailable: No worker can be started; the message says what to do.
        """
        self._started = asyncio.get_running_loop().create_future()
        self._keepers = [asyncio.create_task(self._keep(), name="contract worker") for _ in range(self._workers)]
        try:
            await self._started
        except BaseException:
            await self.close()
            raise

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        """See `ContractEngine.run`. Raises ContractsUnavailable also before `start` and after `close`."""
        if self._closed or self._started is None:
            raise ContractsUnavailable("the contract workers are not running")
        result: asyncio.Future[Execution] = asyncio.get_running_loop().create_future()
        waiting = _Call(next(self._numbers), self._job(call, patience), result)
        self._waiting.append(waiting)
        self._hand_out()
        try:
            return await result
        except asyncio.CancelledError:
            if waiting.connection is not None:
                waiting.connection.cancel(waiting.number)
            raise

    async def close(self) -> None:
        """End all workers and the runs in them; calls that wait get ContractsUnavailable."""
        self._closed = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._refuse_all("the contract workers are closed")

    def _job(self, call: ContractCall, patience: Patience) -> frames.Job:
        seconds, memory = self._grant(patience)
        return frames.Job(
            cpu=seconds,
            wall=seconds * _WALL_SHARE + _WALL_EXTRA if seconds else 0.0,
            memory=memory,
            output=DECIDED_OUTPUT_BYTES if patience is Patience.DECIDED else self._limits.output_bytes,
            seed=call.seed,
            script=call.script.encode(),
            data=call.data.encode(),
            keys=None if call.keys is None else call.keys.encode(),
        )

    def _grant(self, patience: Patience) -> tuple[float, int]:
        """Seconds of processor time and bytes of memory; 0 for no limit."""
        limits = self._limits
        if patience is Patience.ADMISSION:
            return limits.seconds, limits.memory_bytes
        if patience is Patience.PROPOSAL:
            return 4 * limits.seconds, 2 * limits.memory_bytes
        return 0.0, 0

    async def _keep(self) -> None:
        """Keep one worker until the pool is closed."""
        backoff = _FIRST_BACKOFF
        while True:
            answered = self._answered
            try:
                reason = await self._worker_life()
                _log.warning("contract worker lost", reason=reason)
            except WorkerLost as error:
                self._report_failed_start(str(error))
            if self._answered != answered:
                backoff = _FIRST_BACKOFF
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF)

    async def _worker_life(self) -> str:
        """Start a worker and let it take calls as long as it lives; says why it ended.

        Raises:
            WorkerLost: It did not come up.
        """
        connection = await start_worker(self._kind)
        reason = "the contract workers are closed"
        try:
            layers = await connection.greeting()
            self._up.append(connection)
            self._report_start(layers)
            self._free.append(connection)
            self._hand_out()
            reason = await connection.lost()
        finally:
            self._forget(connection, reason)
            await connection.end()
        return reason

    def _hand_out(self) -> None:
        """Give the calls that wait longest to the workers that are free."""
        while self._waiting and self._free:
            call = self._waiting.popleft()
            if call.result.done():
                continue  # cancelled
            connection = self._free.popleft()
            self._running[connection] = call
            call.connection = connection
            connection.ask(call.number, call.job, functools.partial(self._take_reply, connection))

    def _take_reply(self, connection: WorkerConnection, reply: Reply) -> None:
        call = self._running.pop(connection)
        call.connection = None
        self._answered += 1
        self._free.append(connection)
        self._hand_out()
        if call.result.done():
            return
        report = reply.report
        if reply.kind == frames.ANSWER:
            answer = EngineAnswer(report.output, report.logs)
            call.result.set_result(Execution(answer, report.cpu, report.memory))
        else:
            lasting = reply.kind == frames.OVERRUN
            call.result.set_exception(ContractOverrun(report.output.decode(), lasting=lasting))

    def _forget(self, connection: WorkerConnection, reason: str) -> None:
        """A worker is gone. A contract that ran in it is tried once more in another."""
        for kept in (self._up, self._free):
            if connection in kept:
                kept.remove(connection)
        call = self._running.pop(connection, None)
        if call is None:
            return
        call.connection = None
        call.attempts += 1
        if self._closed:
            self._waiting.append(call)
        elif call.attempts < _ATTEMPTS:
            self._waiting.appendleft(call)
            self._hand_out()
        elif not call.result.done():
            call.result.set_exception(ContractsUnavailable(f"{call.attempts} workers were lost: {reason}"))

    def _report_start(self, layers: tuple[Layer, ...]) -> None:
        self.layers = self.layers or layers
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _report_failed_start(self, reason: str) -> None:
        """Calls do not wait where no worker is left and none can be started."""
        _log.warning("contract worker did not start", reason=reason)
        if self._started is not None and not self._started.done():
            self._started.set_exception(ContractsUnavailable(reason))
        if not self._up:
            self._refuse_all(reason)

    def _refuse_all(self, reason: str) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if not call.result.done():
                call.result.set_exception(ContractsUnavailable(reason))
