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
from planetmint.sandbox.connection import WorkerConnection, WorkerLost, start_worker
from planetmint.sandbox.engine import EngineKind
from planetmint.sandbox.layers import Layer

_FIRST_BACKOFF, _LAST_BACKOFF = 0.05, 5.0
_ATTEMPTS = 2
"""Workers that one contract may cost before it is blamed."""
_WALL_SHARE, _WALL_EXTRA = 30.0, 10.0
"""A run may take this many times its processor time by the clock on the wall, and this much more: on a busy
machine contracts wait for everybody else."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


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


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call that waits or runs."""

    job: frames.Job
    result: asyncio.Future[Execution]
    attempts: int = 0


@dataclass(slots=True, eq=False)
class _Slot:
    """The place of a worker."""

    keeper: asyncio.Task[None] | None = None
    connection: WorkerConnection | None = None
    """Of a worker that is up."""


class SandboxPool:
    """A `ContractEngine`: worker processes, each of which runs one contract at a time in a fresh, jailed fork."""

    def __init__(self, kind: EngineKind, limits: SandboxLimits | None = None, workers: int = 2) -> None:
        self._kind = kind
        self._limits = limits or SandboxLimits()
        self._slots = [_Slot() for _ in range(workers)]
        self._queue = deque[_Waiting]()
        self._idle = deque[asyncio.Future[None]]()
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
        return len(self._slots)

    @property
    def pids(self) -> tuple[int, ...]:
        """Processes of the workers that are up."""
        return tuple(slot.connection.process.pid for slot in self._slots if slot.connection)

    async def start(self) -> None:
        """Return when the first worker is up; the others follow.

        Raises:
            ContractsUnavailable: No worker can be started; the message says what to do.
        """
        self._started = asyncio.get_running_loop().create_future()
        for slot in self._slots:
            slot.keeper = asyncio.create_task(self._keep(slot), name="contract worker")
        try:
            await self._started
        except BaseException:
            await self.close()
            raise

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        """See `ContractEngine.run`. Raises ContractsUnavailable also before `start` and after `close`."""
        if self._closed or self._started is None:
            raise ContractsUnavailable("the contract workers are not running")
        waiting = _Waiting(self._job(call, patience), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake_one()
        return await waiting.result

    async def close(self) -> None:
        """End all workers and the runs in them; calls that wait get ContractsUnavailable."""
        self._closed = True
        keepers = [slot.keeper for slot in self._slots if slot.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        self._refuse_all("the contract workers are closed")

    def _job(self, call: ContractCall, patience: Patience) -> frames.Job:
        seconds, memory = self._grant(patience)
        return frames.Job(
            cpu=seconds,
            wall=seconds * _WALL_SHARE + _WALL_EXTRA if seconds else 0.0,
            memory=memory,
            output=self._limits.output_bytes,
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

    async def _keep(self, slot: _Slot) -> None:
        """Keep a worker in a slot until the pool is closed."""
        backoff = _FIRST_BACKOFF
        while True:
            answered = self._answered
            try:
                await self._serve(slot)
            except WorkerLost as error:
                self._report_loss(str(error))
            if self._answered != answered:
                backoff = _FIRST_BACKOFF
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, _LAST_BACKOFF)

    async def _serve(self, slot: _Slot) -> None:
        """Start a worker and hand it calls as long as it lives. Raises WorkerLost."""
        connection = await start_worker(self._kind)
        try:
            layers = await connection.greeting()
            slot.connection = connection
            self._report_start(layers)
            while True:
                await self._answer(connection, await self._next(connection))
        finally:
            slot.connection = None
            await connection.end()

    async def _next(self, connection: WorkerConnection) -> _Waiting:
        """The call that waits longest. Raises WorkerLost when the worker goes while there is none."""
        while not connection.lost:
            while self._queue:
                waiting = self._queue.popleft()
                if not waiting.result.done():
                    return waiting
            wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            connection.when_lost = functools.partial(_set, wake)
            self._idle.append(wake)
            try:
                await wake
            finally:
                if wake in self._idle:
                    self._idle.remove(wake)
        self._wake_one()
        raise WorkerLost("a contract worker ended while it had nothing to do")

    async def _answer(self, connection: WorkerConnection, waiting: _Waiting) -> None:
        number = next(self._numbers)

        def started() -> None:
            waiting.result.add_done_callback(
                lambda _: connection.cancel(number) if waiting.result.cancelled() else None
            )

        try:
            kind, report = await connection.ask(number, waiting.job, started)
        except BaseException as error:
            self._put_back(waiting, error)
            raise
        self._answered += 1
        if waiting.result.done():
            return
        if kind == frames.ANSWER:
            answer = EngineAnswer(report.output, report.logs)
            waiting.result.set_result(Execution(answer, report.cpu, report.memory))
        else:
            waiting.result.set_exception(ContractOverrun(report.output.decode()))

    def _put_back(self, waiting: _Waiting, error: BaseException) -> None:
        """A worker went while it ran a contract: the contract is tried once more, then it is blamed."""
        waiting.attempts += 1
        if waiting.result.done():
            return
        if waiting.attempts >= _ATTEMPTS:
            waiting.result.set_exception(ContractOverrun(f"{waiting.attempts} workers were lost with it: {error}"))
            return
        self._queue.appendleft(waiting)
        self._wake_one()

    def _wake_one(self) -> None:
        if self._idle:
            _set(self._idle.popleft())

    def _report_start(self, layers: tuple[Layer, ...]) -> None:
        self.layers = self.layers or layers
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _report_loss(self, reason: str) -> None:
        """Calls do not wait for a worker that may never come."""
        _log.warning("contract worker lost", reason=reason)
        if self._started is not None and not self._started.done():
            self._started.set_exception(ContractsUnavailable(reason))
        if not self.pids:
            self._refuse_all(reason)

    def _refuse_all(self, reason: str) -> None:
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.result.done():
                waiting.result.set_exception(ContractsUnavailable(reason))


def _set(wake: asyncio.Future[None]) -> None:
    if not wake.done():
        wake.set_result(None)
