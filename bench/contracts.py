# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the walls around a contract cost: one run in the node's sandbox against the bare engine's time for it.

The engine alone is a plain process that calls the library again and again and takes the time itself: no fresh
process for each contract, no limits, nobody to talk to. The two take turns, call by call.
"""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.report import Row, Target
from bench.rows import Bench, BenchFailed
from planetmint.contracts import ContractCall, Purpose
from planetmint.ports.contracts import Patience
from planetmint.sandbox import EngineKind, SandboxPool, find_engine

ROOT = Path(__file__).resolve().parent.parent

_TRIVIAL = "Given nothing\nThen print the string 'ok'\n"
_SIGN = """Scenario 'ecdh'
Given nothing
When I create the ecdh key
When I create the ecdh public key
When I write string 'hello' in 'message'
When I create the ecdh signature of 'message'
Then print the 'ecdh public key'
Then print the 'ecdh signature'
Then print the 'message'
"""
_VERIFY = """Scenario 'ecdh'
Given I have a 'ecdh public key'
and I have a 'string' named 'message'
and I have a 'ecdh signature'
When I verify the 'message' has a ecdh signature in 'ecdh signature' by 'ecdh public key'
Then print the string 'ok'
"""
_OK = b'{"output":["ok"]}'


def evaluation(bench: Bench) -> Iterator[Row]:
    """One contract at a time, in a pool of one worker and in the engine alone."""
    kind = find_engine()
    if kind is None:
        raise BenchFailed('no contract engine here: pip install "planetmint-node[zenroom]"')
    calls = bench.scale.alone
    for what, (ours, alone) in asyncio.run(_measure(kind, calls, bench)).items():
        quotients = [pool / engine for pool, engine in zip(ours, alone, strict=True)]
        yield Row(
            name="evaluation",
            what=f"one contract in the sandbox / in the engine alone, {what}",
            value=statistics.median(quotients),
            unit="times",
            target=Target(1.3, 1.15, more_is_better=False),
            limit=1.0,
            limit_name="(the engine alone)",
            detail=f"median of {calls:,} pairs of calls, in turn, one at a time; medians "
            f"{statistics.median(ours):.2f} / {statistics.median(alone):.2f} ms, fastest {min(ours):.2f} / "
            f"{min(alone):.2f} ms; {kind.name}",
        )


async def _measure(kind: EngineKind, calls: int, bench: Bench) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds of each call, in the sandbox and in the engine alone, of each contract."""
    found = {}
    pool = SandboxPool(kind, workers=1)
    try:
        await pool.start()
        signed = await pool.run(_call(_SIGN, "{}"), Patience.ADMISSION)
        contracts = {
            "nothing but one statement": _call(_TRIVIAL, "{}"),
            "an ECDH signature is verified": _call(_VERIFY, signed.answer.output.decode()),
        }
        with _engine_alone(kind) as alone:
            for what, call in contracts.items():
                with bench.step(f"{2 * calls:,} contracts: {what}") as watch:
                    found[what] = await _take_turns(pool, alone, call, calls, watch)
    finally:
        await pool.close()
    return found


async def _take_turns(
    pool: SandboxPool,
    alone: Callable[[ContractCall], float],
    call: ContractCall,
    calls: int,
    watch: Callable[[int, int], object],
) -> tuple[list[float], list[float]]:
    ours, engine = [], []
    for turn in range(calls):
        engine.append(alone(call))
        begin = time.perf_counter()
        done = await pool.run(call, Patience.ADMISSION)
        ours.append(1000 * (time.perf_counter() - begin))
        if done.answer.output.strip() != _OK:
            raise BenchFailed(f"a contract printed {done.answer.output[:200]!r}")
        watch(turn + 1, calls)
    return ours, engine


@contextlib.contextmanager
def _engine_alone(kind: EngineKind) -> Iterator[Callable[[ContractCall], float]]:
    """Runs a contract in the engine alone; milliseconds."""
    command = [sys.executable, "-m", "bench.engine_alone", str(kind.path)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    texts, answers = process.stdin, process.stdout

    def run(call: ContractCall) -> float:
        texts.write(json.dumps([call.script, call.data]) + "\n")
        texts.flush()
        return float(answers.readline())

    try:
        yield run
    finally:
        texts.close()
        process.wait()
        answers.close()


def _call(script: str, data: str) -> ContractCall:
    return ContractCall("script", Purpose.SCRIPT, script, data, keys=None, seed=bytes(64), expected=["ok"])


ALL: dict[str, Callable[[Bench], Iterator[Row]]] = {"evaluation": evaluation}
