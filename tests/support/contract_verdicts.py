# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contract engines for tests without an event loop: the real one in its sandbox, and one that always agrees."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator

from planetmint.contracts import ContractCall, EngineAnswer
from planetmint.model.parameters import ChainParameters, ContractParameters, ZenroomMode
from planetmint.ports.contracts import Patience
from planetmint.testing.ledger import Engine
from tests.support.contract_pool import contract_pool, installed_engine


def chain_parameters(mode: ZenroomMode) -> ChainParameters:
    """A chain that runs scripts, and takes zenroom conditions as `mode` says, by this environment's engine."""
    return ChainParameters(
        contracts=ContractParameters(zenroom=mode, scripts="on", engine=installed_engine().name)
    )


def content(call: ContractCall) -> EngineAnswer:
    """Whatever is expected comes out: for what must not depend on what a contract says."""
    return EngineAnswer(json.dumps({"output": call.expected}).encode(), b"")


@contextlib.contextmanager
def engine_here() -> Iterator[Engine]:
    """Answers calls from any thread; the pool lives in an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="contract-engine")
    thread.start()
    stack = contextlib.AsyncExitStack()
    try:
        pool = asyncio.run_coroutine_threadsafe(stack.enter_async_context(contract_pool()), loop).result()

        def answer(call: ContractCall) -> EngineAnswer:
            execution = asyncio.run_coroutine_threadsafe(pool.run(call, Patience.ADMISSION), loop).result()
            return execution.answer

        yield answer
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
