# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an engine does without enough memory, and what it prints, never becomes a verdict of one machine alone
(transactions 6; decision D15): the real engine in the node's own workers."""

import asyncio
import json
import time

import pytest

from planetmint.contracts import ContractCall
from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.sandbox import SandboxLimits, SandboxPool
from planetmint.sandbox.logs import KEPT_BYTES
from planetmint.sandbox.pool import DECIDED_OUTPUT_BYTES
from tests.functional.test_sandbox import OK, confined
from tests.support.contract_pool import call_of, contract_pool

FILLING = call_of(
    "Given nothing\nWhen I create the array of '3000' random objects of '64' bytes\n"
    "When I create the hash of 'array'\nThen print the 'hash'\n"
)
"""Takes some 230 MB."""
ENOUGH = SandboxLimits(seconds=60, memory_bytes=1 << 30)
ECHO = "Given I have a 'string' named 'a'\nThen print the 'a'\n"
COMPLAINT = "[!]  not enough memory"


async def answer(pool: SandboxPool, call: ContractCall, patience: Patience = Patience.ADMISSION) -> bytes | None:
    """The output; None for an overrun."""
    try:
        return (await pool.run(call, patience)).answer.output
    except ContractOverrun:
        return None


class TestLackOfMemory:
    @pytest.mark.parametrize("megabytes", [1, 8, 32, 96, 160])
    async def test_refused_request_for_memory_is_an_overrun_at_every_patience(
        self, monkeypatch: pytest.MonkeyPatch, megabytes: int
    ) -> None:
        async with contract_pool(limits=ENOUGH) as pool:
            right = await answer(pool, FILLING)
        assert right
        with confined(monkeypatch, f"short-{megabytes}"):
            try:
                async with contract_pool(limits=ENOUGH) as pool:
                    for patience in Patience:
                        assert await answer(pool, FILLING, patience) in (None, right)
            except ContractsUnavailable:
                assert megabytes < 8, "not even the first trial of a worker found enough"

    async def test_limit_under_which_the_node_was_started_is_lifted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with confined(monkeypatch, "soft-limit"):
            async with contract_pool(limits=ENOUGH) as pool:
                assert await answer(pool, FILLING)

    async def test_limit_that_cannot_be_lifted_is_refused_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            confined(monkeypatch, "hard-limit"),
            pytest.raises(
                ContractsUnavailable, match=r"no more than 209,715,200 bytes of memory.*ulimit -v unlimited"
            ),
        ):
            async with contract_pool():
                pass

    async def test_machine_that_promises_no_more_memory_than_it_has_is_told(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with confined(monkeypatch, "strict-memory"):
            async with contract_pool() as pool:
                assert {layer.name for layer in pool.layers if not layer.active} >= {"memory requests"}
                assert await answer(pool, call_of()) == OK


class TestMessages:
    @pytest.mark.parametrize(
        ("script", "keys"),
        [
            ("Given nothing\nThen print data\n", None),
            ("Given I have a 'number' named 'a'\nThen print the 'a'\n", None),
            ("Given I have a 'hex' named 'a'\nThen print the 'a'\n", None),
        ],
    )
    async def test_engines_mark_in_the_data_holds_up_no_worker(self, script: str, keys: str | None) -> None:
        data = json.dumps({"a": "[!]" * 30_000})
        async with contract_pool() as pool:
            await answer(pool, call_of())
            worker = int(pool.pids[0])
            before = _seconds(worker)
            assert await answer(pool, call_of(script, data, keys)) == b""
            assert await answer(pool, call_of()) == OK
            assert _seconds(worker) - before < 1  # of the worker itself, where it was more than 10

    async def test_data_that_the_engine_shows_are_none_of_its_complaints(self) -> None:
        texts = [COMPLAINT, f"x\n{COMPLAINT}", f"x\r\n{COMPLAINT}\n"]
        async with contract_pool() as pool:
            for text in texts:
                data = json.dumps({"a": text})
                assert await answer(pool, call_of("Given nothing\n", data)) == b""
                assert await answer(pool, call_of("Given I have a 'number' named 'a'\n", data)) == b""

    async def test_feigned_lack_of_memory_is_the_same_everywhere(self) -> None:
        calls = [
            call_of("Given I have a 'string' named by 'a'\n", json.dumps({"a": f"x\n{COMPLAINT}"})),
            call_of(f"Given nothing\nWhen I fly {COMPLAINT}\n"),
        ]
        for call in calls:
            found = set()
            for workers in (1, 2):
                async with contract_pool(workers) as pool:
                    found |= set(await asyncio.gather(*(answer(pool, call, patience) for patience in Patience)))
            assert found == {None}

    async def test_messages_never_end_a_contract(self) -> None:
        script = "Given I have a 'string' named 'a'\nWhen I create the result of 'a' + 'a'\nThen print the 'x'\n"
        call = call_of(script, json.dumps({"a": "x" * 300_000}))
        async with contract_pool(limits=SandboxLimits(output_bytes=50_000)) as pool:
            done = await pool.run(call, Patience.ADMISSION)
        assert done.answer.output == b""
        assert 2 * KEPT_BYTES < len(done.answer.logs) < 2 * KEPT_BYTES + 100
        assert b"Release version" in done.answer.logs
        assert b"bytes are left out here" in done.answer.logs
        assert b"Execution aborted" in done.answer.logs


class TestResults:
    async def test_own_bound_ends_a_contract_before_its_block_is_decided_only(self) -> None:
        call = call_of(ECHO, json.dumps({"a": "x" * 5000}))
        async with contract_pool(limits=SandboxLimits(output_bytes=4096)) as pool:
            for patience in (Patience.ADMISSION, Patience.PROPOSAL):
                with pytest.raises(ContractOverrun, match="prints more than 4,096 bytes"):
                    await pool.run(call, patience)
            assert json.loads(await answer(pool, call, Patience.DECIDED) or b"") == {"a": "x" * 5000}

    async def test_decided_contract_is_ended_by_a_bound_that_all_nodes_share(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert DECIDED_OUTPUT_BYTES == 67_108_864  # the most that `contracts.output_bytes` can be
        monkeypatch.setattr("planetmint.sandbox.pool.DECIDED_OUTPUT_BYTES", 4000)
        call = call_of(ECHO, json.dumps({"a": "x" * 5000}))
        async with contract_pool() as pool:
            assert await answer(pool, call)
            with pytest.raises(ContractOverrun, match="prints more than 4,000 bytes"):
                await pool.run(call, Patience.DECIDED)


def _seconds(process: int) -> float:
    """Processor time of a process without its children."""
    return time.clock_gettime((~process << 3) | 2)
