# SPDX-License-Identifier: AGPL-3.0-or-later
"""A contract engine that does what the contract says, word by word, and transactions whose contracts say it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from planetmint.contracts import ContractCall, EngineAnswer
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.model.transaction import Transaction
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ContractError, ContractOverrun, ContractsUnavailable
from planetmint.rules import decode_transaction
from planetmint.testing.build import Builder, Built, Contract, Dialect, all_of

NAME = "scripted 1"
PARAMETERS = ChainParameters(contracts=ContractParameters("bound", "on", NAME, max_per_block=4))
SCRIPTED = Builder(Dialect.PLANETMINT_2)

SECONDS = 0.25
"""What every run of the engine claims to take."""


class ScriptedEngine:
    """Implements `ports.ContractEngine`; the first of these words in a script decides.

    ``agrees`` gives what these scripts expect, ``differs`` something else, ``fails`` nothing. ``long`` overruns
    at admission, ``longer`` in a proposal too, ``deadly`` always. Any script waits while its `gates` are shut.

    Attributes:
        runs: Script and patience of every run, as they began.
        ended: Scripts whose run came to its end.
        running, most: Runs at the same time, now and at most.
        gates: By a word in the script; the run goes on when it is set.
        failure: Raised by every run.
        killed: So many of the next runs are ended from outside.
    """

    def __init__(self, width: int = 2) -> None:
        self.name = NAME
        self.width = width
        self.runs: list[tuple[str, Patience]] = []
        self.ended: list[str] = []
        self.running = self.most = 0
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.failure: ContractError | None = None
        self.killed = 0

    async def run(self, call: ContractCall, patience: Patience) -> Execution:
        self.runs.append((call.script, patience))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for word, gate in tuple(self.gates.items()):
                if word in call.script:
                    await gate.wait()
            await asyncio.sleep(0)
            answer = self.answer(call, patience)
        finally:
            self.running -= 1
        self.ended.append(call.script)
        return Execution(answer, SECONDS, 20_000_000)

    def answer(self, call: ContractCall, patience: Patience) -> EngineAnswer:
        if self.failure is not None:
            raise self.failure
        if self.killed:
            self.killed -= 1
            raise ContractOverrun("its process was ended by signal 9", lasting=False)
        overruns = {"longer": list(Patience)[:2], "long": list(Patience)[:1], "deadly": list(Patience)}
        for word, at in overruns.items():
            if word in call.script and patience in at:
                raise ContractOverrun(f"it took more than {patience} grants")
        if "fails" in call.script:
            return EngineAnswer(b"", b"[!] Error\n")
        return EngineAnswer(b'{"output": ["no"]}' if "differs" in call.script else b'{"output": ["ok"]}', b"")

    def began(self, word: str) -> list[Patience]:
        """With which patience scripts with `word` were run."""
        return [patience for script, patience in self.runs if word in script]


def code(words: str) -> str:
    """A script with `words`."""
    return f"Given nothing\nThen print the string '{words}'\n"


def scripted(words: str, owner: str = "alice") -> Built:
    """A CREATE of 3 shares with a script that holds `words`."""
    draft = SCRIPTED.draft_create(owner, [(3, owner)], data=words)
    return draft.scripted({}, ["ok"], code=code(words)).signed()


def guarded(words: Sequence[str], owner: str = "alice") -> Built:
    """A CREATE whose fulfillment holds one contract for each of `words`: sorted, and of the same length, because
    the encoding sorts them."""
    owners = all_of(owner, *(Contract(code(item)) for item in words))
    draft = Builder(Dialect.PLANETMINT_1).draft_create(owners, [(1, owner)], data={"words": list(words)})
    return draft.scripted({}, ["ok"]).signed()


def decoded(built: Built) -> Transaction:
    """What the rules make of it on a chain with contracts."""
    return decode_transaction(built.canonical, PARAMETERS)


UNAVAILABLE = ContractsUnavailable("no worker could be started")
