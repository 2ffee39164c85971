# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts are run once per node, beside everything else, and their verdicts remembered (decisions D5, D15).

What could not be found out here, because a contract needs more than this node grants or nothing can be run, is
never a verdict and never remembered as one. A decided block comes before proposals, these before admission.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from planetmint.contracts import ContractCall, EngineAnswer, judge
from planetmint.model.errors import InvalidTransaction, InvariantViolated
from planetmint.model.parameters import ChainParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.contracts import ContractEngine, Execution, Patience
from planetmint.ports.errors import ChainMismatch, ContractError, ContractOverrun, ContractsUnavailable
from planetmint.rules.contracts import contract_calls

_CAPACITY = 20_000
"""Acceptances that are remembered: those of 100 full blocks at the default bound."""

_REFUSED_CAPACITY = 4_000
"""Refusals that are remembered, apart: whoever sends many makes no acceptance be forgotten."""

_BLOCKS = 8
"""Full blocks whose acceptances are remembered in any case, and refusals: nothing is run twice for a block."""

_OVERRUNS = 4_000
"""Overruns that are remembered."""

_MOST_WAITING = 64
"""Transactions that wait for admission by their contracts; for a block any number may."""

_SECONDS = 4.0
"""Processor time that all contracts of one transaction may take for admission."""

_SLICE = 0.25
"""Processor time after which a transaction that waits for admission lets the others go first."""

_MOST_IN_PASSING = 2.0
_SHARE_IN_PASSING = 0.5
"""Seconds at once, and share of the time in the long run, for which contracts hold up other transactions."""

_LARGE = 50_000
"""Bytes from which on JSON is written and read in a thread."""

_SHOWN = 20_000
"""Bytes of an engine's output, and of its messages, that a trial keeps: hundreds of runs may print a lot."""

_ATTEMPTS = 3
"""Runs of a contract of a decided block before it is said that it cannot be run on this machine."""

_STOPPING = "the node is stopping"
_NO_TIME = "there is no time left for its contracts"

_GRADE = {patience: grade for grade, patience in enumerate(Patience)}


class Trial(NamedTuple):
    """One run of a contract that was only tried.

    Attributes:
        call: What was asked.
        execution: What the engine answered, clipped, and what that took; None where it was stopped.
        error: The verdict on the answer, or what was exceeded; None where it is the expected one.
    """

    call: ContractCall
    execution: Execution | None
    error: InvalidTransaction | ContractOverrun | None


class Figures(NamedTuple):
    """What was done since the start.

    Attributes:
        runs: Runs of contracts that came to their end.
        overruns: Transactions whose contracts needed more than this node grants.
        unavailable: Transactions whose contracts could not be run.
        seconds: Processor time of the runs.
        waiting: Transactions that wait for their turn now.
    """

    runs: int
    overruns: int
    unavailable: int
    seconds: float
    waiting: int


class _Verdict(NamedTuple):
    """What a refusal is made of, None for an accepted transaction; and the processor time that finding out took.

    The error itself would keep its whole stack alive.
    """

    refusal: tuple[type[InvalidTransaction], str, str, str | None] | None
    seconds: float


@dataclass(slots=True, eq=False)
class _Run:
    """The contracts of a transaction, waiting for their turn or under way.

    Attributes:
        patience: The highest that anybody asked for.
        number: Counts the runs.
        name: The transaction's id; empty for a trial.
        ahead: Whether others wait behind it who have nothing to do with contracts.
        callers: Who wait for it.
        task: Answers None when there is a verdict.
        turn: Done when its turn comes.
        holds: Whether it has its turn.
        used: Processor time since it came to its turn in the order of the others.
    """

    patience: Patience
    number: int
    name: str = ""
    ahead: bool = False
    callers: int = 0
    task: asyncio.Task[ContractError | None] | None = None
    turn: asyncio.Future[None] | None = None
    holds: bool = False
    used: float = 0.0

    @property
    def order(self) -> tuple[int, bool, int]:
        """What comes first is smallest."""
        return -_GRADE[self.patience], not self.ahead, self.number


class _Settled(Exception):
    """What is asked has its answer already."""


class _Verdicts:
    """Verdicts by id; the oldest are forgotten first, acceptances and refusals apart, and none that is held."""

    def __init__(self) -> None:
        self._accepted: OrderedDict[str, _Verdict] = OrderedDict()
        self._refused: OrderedDict[str, _Verdict] = OrderedDict()
        self._held: Counter[str] = Counter()

    def __contains__(self, name: str) -> bool:
        return name in self._accepted or name in self._refused

    def get(self, name: str) -> _Verdict | None:
        return self._accepted.get(name) or self._refused.get(name)

    def add(self, name: str, verdict: _Verdict, capacity: int) -> None:
        """Remember a verdict as one of `capacity` of its kind, and of more where these are held."""
        kept = self._accepted if verdict.refusal is None else self._refused
        kept[name] = verdict
        while len(kept) > capacity:
            # What is held stands near the end: it is passed over only where there is hardly anything else.
            oldest = next((other for other in kept if other not in self._held), None)
            if oldest is None:
                return
            del kept[oldest]

    @contextmanager
    def holding(self, names: Sequence[str]) -> Iterator[None]:
        """Forget none of these meanwhile, whether it is known by now or comes."""
        self._held.update(names)
        for name in names:
            for kept in (self._accepted, self._refused):
                if name in kept:
                    kept.move_to_end(name)
        try:
            yield
        finally:
            for name in names:
                self._held[name] -= 1
                if not self._held[name]:
                    del self._held[name]

    def clear(self) -> None:
        self._accepted.clear()
        self._refused.clear()


class ContractJudge:
    """Finds and remembers what the contracts of transactions say.

    An id is recomputed from the whole content, signatures included, so that it names one verdict.
    """

    def __init__(
        self,
        engine: ContractEngine | None,
        *,
        seconds: float = _SECONDS,
        capacity: int = _CAPACITY,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        """
        Args:
            engine: None on a chain without contracts.
            seconds: Processor time for all contracts of one transaction at admission; a proposal's have twice
                as much, those of a decided block any.
            capacity: Acceptances, and refusals, that are remembered where the chain's blocks do not need more;
                of refusals in no case more than some thousand.
            most_waiting: Transactions that may wait for admission.
        """
        self._engine = engine
        self._parameters = ChainParameters()
        self._budgets = {Patience.ADMISSION: seconds, Patience.PROPOSAL: 2 * seconds}
        self._least = capacity, min(capacity, _REFUSED_CAPACITY)
        self._capacities = self._least
        self._most_waiting = most_waiting
        self._verdicts = _Verdicts()
        self._overruns: OrderedDict[str, tuple[Patience, str]] = OrderedDict()
        self._runs: dict[str, _Run] = {}
        self._turns = _Turns(self.width)
        self._allowance: Allowance | None = None
        self._trials = 0
        self._started = 0
        self._closed = False
        self._counts = [0, 0, 0]
        self._seconds = 0.0

    @property
    def name(self) -> str | None:
        """The engine's, as in the chain parameter `contracts.engine`; None where there is none."""
        return None if self._engine is None else self._engine.name

    @property
    def width(self) -> int:
        """Transactions whose contracts run at the same time."""
        return 1 if self._engine is None else self._engine.width

    @property
    def figures(self) -> Figures:
        """What was done since the start."""
        runs, overruns, unavailable = self._counts
        return Figures(runs, overruns, unavailable, self._seconds, self._turns.waiting)

    def follow(self, parameters: ChainParameters) -> None:
        """Judge by the parameters of this chain from now on.

        Raises:
            ChainMismatch: It runs contracts by an engine that is not at hand.
        """
        contracts = parameters.contracts
        if contracts.on and contracts.engine != self.name:
            found = "no contract engine" if self.name is None else f"`{self.name}`"
            raise ChainMismatch(
                f"the contracts of the chain run in the engine `{contracts.engine}`, and this node has {found}"
            )
        if parameters != self._parameters:
            self._parameters = parameters
            accepted, refused = self._least
            blocks = _BLOCKS * contracts.max_per_block
            self._capacities = max(accepted, blocks), max(refused, blocks)
            self._verdicts.clear()
            self._overruns.clear()

    def knows(self, transaction: Transaction) -> bool:
        """Whether there is a verdict on `transaction`."""
        return not transaction.contracts or transaction.id in self._verdicts

    @contextmanager
    def holding(self, transactions: Sequence[Transaction]) -> Iterator[None]:
        """Forget no verdict on these meanwhile, however many others come in: what `judge` finds, `check` tells."""
        with self._verdicts.holding([item.id for item in transactions if item.contracts]):
            yield

    def seconds(self, transaction: Transaction) -> float:
        """Processor time that its contracts took here; 0.0 where that is not known."""
        verdict = self._verdicts.get(transaction.id)
        return 0.0 if verdict is None else verdict.seconds

    def check(self, transaction: Transaction) -> None:
        """Raise the verdict on a transaction that was judged.

        Raises:
            InvalidTransaction: Its contracts say something else than it declares.
            InvariantViolated: It was not judged.
        """
        if not transaction.contracts:
            return
        verdict = self._verdicts.get(transaction.id)
        if verdict is None:
            raise InvariantViolated(
                f"the contracts of transaction {transaction.id} are asked about, but did not run"
            )
        if verdict.refusal is not None:
            kind, reason, rule, place = verdict.refusal
            raise kind(reason, rule=rule, field=place)

    async def judge(
        self,
        transactions: Sequence[Transaction],
        patience: Patience,
        seconds: float | None = None,
        *,
        ahead: bool = False,
    ) -> dict[str, ContractError]:
        """Find the verdicts on `transactions`, for `check`; those without contracts have one.

        Those that others ask about at the same time are run once. The first one of a proposal that cannot be
        judged settles the whole; the others are not run any more. Runs for a decided block go on when the
        caller has gone. Who does not `check` at once does both while `holding` the transactions.

        Args:
            patience: How long each may run.
            seconds: For all of them, by the clock; None for as long as it takes.
            ahead: Whether they come before others of the same patience.

        Returns:
            By id why there is no verdict, where there is none: ContractOverrun or ContractsUnavailable.
        """
        with self.holding(transactions):
            unknown = {item.id: item for item in transactions if not self.knows(item)}
            return await self._judge(unknown, patience, seconds, ahead) if unknown else {}

    async def _judge(
        self, unknown: dict[str, Transaction], patience: Patience, seconds: float | None, ahead: bool
    ) -> dict[str, ContractError]:
        errors: dict[str, ContractError] = {}
        if seconds is not None and seconds <= 0:
            return {name: self._not_run(_NO_TIME) for name in unknown}
        left = iter(unknown.values())
        # While some run, as many wait for their turn: nobody with less patience comes in between.
        count = min(2 * self.width, len(unknown))
        try:
            async with asyncio.timeout(seconds):
                await _all(self._work(left, patience, ahead, errors) for _ in range(count))
        except (TimeoutError, _Settled):
            pass
        for item in unknown.values():
            if item.id not in errors and not self.knows(item):
                errors[item.id] = self._not_run(_NO_TIME)
        return errors

    async def judge_in_passing(self, transactions: Sequence[Transaction]) -> dict[str, ContractError]:
        """As `judge` for admission, where others wait behind: no more than a share of the time is used up."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        if self._allowance is None:
            self._allowance = Allowance(_MOST_IN_PASSING, _SHARE_IN_PASSING, begun)
        errors = await self.judge(transactions, Patience.ADMISSION, self._allowance.look(begun), ahead=True)
        self._allowance.use(clock() - begun)
        return errors

    async def trial(self, transaction: Transaction) -> list[Trial]:
        """Run every contract of a transaction up to one that overruns, as for admission, and remember nothing.

        Raises:
            InvalidTransaction: See `contract_calls`.
            ContractsUnavailable: Nothing can be run, or as many trials are under way as contracts run at once.
        """
        if not transaction.contracts:
            return []
        if self._trials >= self.width:
            raise self._not_run("other transactions are being tried")
        self._trials += 1
        try:
            calls = await self._calls(transaction)
            run = self._run(Patience.ADMISSION)
            async with self._turns.of(run):
                return await self._try(calls, run)
        finally:
            self._trials -= 1

    def close(self) -> None:
        """End every run; nothing can be judged any more."""
        self._closed = True
        for run in self._runs.values():
            if run.task is not None:
                run.task.cancel()

    # One transaction

    async def _work(
        self, left: Iterator[Transaction], patience: Patience, ahead: bool, errors: dict[str, ContractError]
    ) -> None:
        for transaction in left:
            error = await self._verdict(transaction, patience, ahead)
            if error is not None:
                errors[transaction.id] = error
                if patience is Patience.PROPOSAL:
                    raise _Settled

    async def _verdict(self, transaction: Transaction, patience: Patience, ahead: bool) -> ContractError | None:
        """Wait until there is a verdict; why there is none."""
        if self.knows(transaction):
            return None
        remembered = self._overruns.get(transaction.id)
        if remembered is not None and _GRADE[remembered[0]] >= _GRADE[patience]:
            return ContractOverrun(remembered[1])
        run = self._runs.get(transaction.id)
        if run is None:
            if self._closed:
                return self._not_run(_STOPPING)
            if patience is Patience.ADMISSION and not ahead and len(self._runs) >= self.width + self._most_waiting:
                return self._not_run("the contracts of too many transactions wait already")
            run = self._runs[transaction.id] = self._run(patience, transaction.id)
            run.task = asyncio.get_running_loop().create_task(self._decide(transaction, run))
            run.task.add_done_callback(lambda _: self._done(run))
        run.ahead |= ahead
        return await self._join(run, patience)

    async def _join(self, run: _Run, patience: Patience) -> ContractError | None:
        run.patience = max(run.patience, patience, key=_GRADE.__getitem__)
        assert run.task is not None
        run.callers += 1
        try:
            await asyncio.wait((run.task,))
        finally:
            run.callers -= 1
            if not run.callers and run.patience is not Patience.DECIDED and not run.task.done():
                # Whoever asks from now on does not join what is being ended.
                del self._runs[run.name]
                run.task.cancel()
        return self._not_run(_STOPPING) if run.task.cancelled() else run.task.result()

    async def _decide(self, transaction: Transaction, run: _Run) -> ContractError | None:
        """Run all contracts until one decides against the transaction, and remember what comes of it."""
        parameters = self._parameters
        try:
            async with self._turns.of(run):
                refusal, seconds = await self._refusal(transaction, run)
        except ContractOverrun as error:
            self._counts[1] += 1
            if error.lasting:
                self._overrun(transaction, run.patience, str(error))
            return error
        except ContractsUnavailable as error:
            self._counts[2] += 1
            return error
        finally:
            # Whoever asks with more patience from here on must not hear what was found with less.
            self._done(run)
        if parameters is self._parameters:
            self._remember(transaction, refusal, seconds)
        return None

    async def _refusal(self, transaction: Transaction, run: _Run) -> tuple[InvalidTransaction | None, float]:
        """The first refusal by a contract, and the processor time until then."""
        seconds = 0.0
        try:
            calls = await self._calls(transaction)
        except InvalidTransaction as refusal:
            return refusal, seconds
        for call in calls:
            await self._turns.make_way(run)
            execution = await self._execute(call, run, seconds)
            seconds += execution.cpu
            refused = await self._judged(call, execution)
            if refused is not None:
                return refused, seconds
        return None, seconds

    async def _try(self, calls: Sequence[ContractCall], run: _Run) -> list[Trial]:
        trials: list[Trial] = []
        seconds = 0.0
        for call in calls:
            await self._turns.make_way(run)
            try:
                execution = await self._execute(call, run, seconds)
            except ContractOverrun as error:
                trials.append(Trial(call, None, error))
                break
            seconds += execution.cpu
            trials.append(Trial(call, _begun(execution), await self._judged(call, execution)))
        return trials

    async def _execute(self, call: ContractCall, run: _Run, spent: float) -> Execution:
        """Run one contract, again where somebody with more patience has joined meanwhile.

        Args:
            spent: Processor time of those before it.
        """
        if self._engine is None:
            raise ContractsUnavailable("this node has no contract engine")
        attempts = 0
        while True:
            patience = run.patience
            attempts += patience is Patience.DECIDED
            try:
                budget = self._budgets.get(patience)
                if budget is not None and spent > budget:
                    raise ContractOverrun(f"its contracts together need more than {budget:g} seconds")
                execution = await self._engine.run(call, patience)
            except ContractOverrun:
                # A decided contract has no limits to exceed: something has ended its process, perhaps the system.
                if run.patience is patience and not 0 < attempts < _ATTEMPTS:
                    raise
                continue
            self._counts[0] += 1
            self._seconds += execution.cpu
            run.used += execution.cpu
            return execution

    async def _calls(self, transaction: Transaction) -> tuple[ContractCall, ...]:
        if len(transaction.canonical) < _LARGE:
            return contract_calls(transaction, self._parameters)
        return await asyncio.to_thread(contract_calls, transaction, self._parameters)

    async def _judged(self, call: ContractCall, execution: Execution) -> InvalidTransaction | None:
        if len(execution.answer.output) < _LARGE:
            return judge(call, execution.answer, self._parameters)
        return await asyncio.to_thread(judge, call, execution.answer, self._parameters)

    # The books

    def _run(self, patience: Patience, name: str = "") -> _Run:
        self._started += 1
        return _Run(patience, self._started, name)

    def _done(self, run: _Run) -> None:
        if self._runs.get(run.name) is run:
            del self._runs[run.name]

    def _remember(self, transaction: Transaction, refusal: InvalidTransaction | None, seconds: float) -> None:
        parts = None if refusal is None else (type(refusal), refusal.reason, refusal.rule, refusal.field)
        self._verdicts.add(transaction.id, _Verdict(parts, seconds), self._capacities[parts is not None])
        self._overruns.pop(transaction.id, None)

    def _overrun(self, transaction: Transaction, patience: Patience, reason: str) -> None:
        self._overruns[transaction.id] = patience, reason
        if len(self._overruns) > _OVERRUNS:
            self._overruns.popitem(last=False)

    def _not_run(self, reason: str) -> ContractsUnavailable:
        self._counts[2] += 1
        return ContractsUnavailable(reason)


def _begun(execution: Execution) -> Execution:
    """An execution with no more than the beginning of what the engine printed."""
    output, logs = execution.answer
    return execution._replace(answer=EngineAnswer(output[:_SHOWN], logs[:_SHOWN]))


class _Turns:
    """Gives out so many turns at a time: to the most patient first, among them in their order."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._queue: list[_Run] = []

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    @asynccontextmanager
    async def of(self, run: _Run) -> AsyncIterator[None]:
        """Wait for a turn, hold it meanwhile and give it back."""
        try:
            await self._take(run)
            yield
        finally:
            self._give_back(run)

    async def make_way(self, run: _Run) -> None:
        """Let those go first who are more urgent than `run`, which has a turn, then take it again.

        What waits for admission is less urgent than all others that do so when it has used its slice.
        """
        if run.patience is Patience.ADMISSION and run.used > _SLICE and self._queue:
            run.number = 1 + max(other.number for other in self._queue)
            run.used = 0.0
            slices = 3
        else:
            slices = 2
        if any(other.order[:slices] < run.order[:slices] for other in self._queue):
            self._give_back(run)
            await self._take(run)

    async def _take(self, run: _Run) -> None:
        if self._free:
            self._free -= 1
            run.holds = True
            return
        run.turn = asyncio.get_running_loop().create_future()
        self._queue.append(run)
        try:
            await run.turn
        finally:
            if not run.holds:
                self._queue.remove(run)

    def _give_back(self, run: _Run) -> None:
        if not run.holds:
            return
        run.holds = False
        if not self._queue:
            self._free += 1
            return
        # Looked for when it is needed: what waits becomes more urgent when somebody more patient joins.
        following = min(self._queue, key=lambda waiting: waiting.order)
        self._queue.remove(following)
        following.holds = True
        if following.turn is not None and not following.turn.done():
            following.turn.set_result(None)


class Allowance:
    """How long something may hold up everything else: a share of the time, and not too much at once.

    Attributes:
        left: Seconds that may be used up now.
    """

    def __init__(self, most: float, share: float, now: float) -> None:
        """
        Args:
            most: Seconds at once.
            share: Of the time, in the long run.
            now: By a clock that is not set.
        """
        self._most = most
        self._share = share
        self._at = now
        self.left = most

    def look(self, now: float) -> float:
        """What is left at this time."""
        self.left = min(self._most, self.left + self._share * (now - self._at))
        self._at = now
        return self.left

    def use(self, seconds: float) -> None:
        """So much was used up."""
        self.left = max(0.0, self.left - seconds)


async def _all(workers: Iterator[Coroutine[None, None, None]]) -> None:
    """Wait for all of them; where this ends before its time, so do they."""
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
