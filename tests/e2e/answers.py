# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m tests.e2e.answers --count 3000 --seed 1`: random contracts get one answer from two sandboxes.

Each contract is refused unread, or runs in both: equal octets, or an overrun in both. Whatever it does, no worker
is lost. What ends the engine's process, and what takes long, is told.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

from planetmint.contracts import ContractCall
from planetmint.model.errors import InvalidTransaction
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractOverrun
from planetmint.rules import decode_transaction
from planetmint.rules.contracts import contract_calls
from planetmint.sandbox import SandboxPool
from planetmint.testing.build import Builder, Dialect
from tests.support.contract_pool import contract_pool, installed_engine
from tests.support.contract_verdicts import chain_parameters
from tests.support.zencode import DATA, Zencode

_LONG = 0.5
_PARAMETERS = chain_parameters("bound")
_SHOWN_FROM = 40
"""Lines of every contract that are alike."""


class Disagreement(AssertionError):
    """Two sandboxes gave two answers to one contract, or lost a worker over it."""


async def compare(seed: int, count: int, say: Callable[[str], None]) -> Counter[str]:
    """Run `count` contracts in two sandboxes.

    Returns:
        How many came to which end.

    Raises:
        Disagreement: The text holds the contract.
    """
    zencode, ends = Zencode(installed_engine().path), Counter[str]()
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(contract_pool()) for _ in range(2)]
        workers = [pool.pids for pool in pools]
        for number in range(count):
            script = zencode.contract(random.Random(seed * 1_000_003 + number))
            call = _call(script)
            if call is None:
                ends["refused unread"] += 1
                continue
            one, other = await asyncio.gather(*(_run(pool, call) for pool in pools))
            if one[0] != other[0] or [pool.pids for pool in pools] != workers:
                raise Disagreement(f"number {number} of seed {seed}: {one} and {other} of\n{script}")
            ends[one[1]] += 1
            if one[1] not in ("result", "none"):
                say(f"{number}: {one[1]}: {' | '.join(script.splitlines()[_SHOWN_FROM:])}")
    return ends


def _call(script: str) -> ContractCall | None:
    draft = Builder(Dialect.PLANETMINT_2).draft_create("alice").scripted(DATA, ["ok"], code=script)
    try:
        (call,) = contract_calls(decode_transaction(draft.signed().canonical, _PARAMETERS), _PARAMETERS)
    except InvalidTransaction:
        return None
    return call


async def _run(pool: SandboxPool, call: ContractCall) -> tuple[bytes | None, str]:
    """The answer, None for an overrun; and what kind of end it came to."""
    try:
        execution = await pool.run(call, Patience.PROPOSAL)
    except ContractOverrun as error:
        return None, str(error)
    if execution.cpu > _LONG:
        return execution.answer.output, f"{execution.cpu:.1f} s"
    return execution.answer.output, "result" if execution.answer.output else "none"


def main(arguments: list[str]) -> int:
    """Compare; 1 when there was a disagreement."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.answers", description="Random contracts, compared.")
    parser.add_argument("--count", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        print(dict(asyncio.run(compare(options.seed, options.count, print))))
    except Disagreement as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
