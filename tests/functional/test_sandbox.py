# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contract sandbox around the real engine (issue: The sandbox, D15; transactions 6): what it denies, what it
limits, and that it goes on whatever becomes of a contract or of a worker."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from planetmint.contracts import ContractCall
from planetmint.ports.contracts import Execution, Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.sandbox import SandboxLimits, SandboxPool, connection
from planetmint.sandbox.engine import EngineKind
from tests.support.contract_pool import call_of, contract_pool, installed_engine
from tests.support.jail_probe import MISDEEDS

ROOT = Path(__file__).resolve().parents[2]
OK = b'{"output":["ok"]}\n'
PRINT_OK = "Then print the string 'ok'\n"
ENDLESS = call_of(
    "Given nothing\nWhen I write string 'a' in 'a'\n"
    "When I create the key derivation of 'a' with '2000000000' rounds\n" + PRINT_OK
)
CHANCE = "Given nothing\nWhen I create the random object of '256' bits\nThen print the 'random object'\n"
ALLOWED_ON_ANY_MACHINE = {"find a variable": 2, "nothing": 0}
"""Misdeeds without a system call, and the error they meet."""


def probe(misdeed: str, *options: str) -> dict[str, object]:
    """What becomes of a misdeed in a jail; see `tests.support.jail_probe`."""
    command = [sys.executable, "-m", "tests.support.jail_probe", misdeed, *options]
    environment = os.environ | {"PROBE_SECRET": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that comes by itself; bounded."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(process: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def busiest_child(process: int) -> int | None:
    """The child of a worker that runs a contract: the other stands ready and uses no time."""

    def ticks(child: int) -> int:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        return 0

    busy = [child for child in children(process) if ticks(child) > 10]
    return busy[0] if busy else None


@contextlib.contextmanager
def confined(monkeypatch: pytest.MonkeyPatch, how: str) -> Iterator[None]:
    """Workers are started on a poorer machine; see `tests.support.confined_worker`."""
    command = connection._command

    def poorer(kind: EngineKind, descriptor: int) -> list[str]:
        found = command(kind, descriptor)
        place = found.index("planetmint.sandbox.worker")
        return [*found[:place], "tests.support.confined_worker", how, *found[place + 1 :]]

    with monkeypatch.context() as patch:
        patch.setattr(connection, "_command", poorer)
        patch.syspath_prepend(str(ROOT))
        yield


class TestWalls:
    """Each layer denies what it is there for."""

    @pytest.mark.parametrize("misdeed", sorted(set(MISDEEDS) - set(ALLOWED_ON_ANY_MACHINE)))
    def test_contract_process_is_killed_when_it_tries_to(self, misdeed: str) -> None:
        assert probe(misdeed)["signal"] == "SIGSYS"

    @pytest.mark.parametrize(("misdeed", "error"), ALLOWED_ON_ANY_MACHINE.items())
    def test_contract_process_finds_nothing_and_lives_when_it_tries_to(self, misdeed: str, error: int) -> None:
        found = probe(misdeed)
        assert (found["signal"], found["error"]) == (None, error)

    @pytest.mark.parametrize("misdeed", ["fork", "read an inherited descriptor", "become root"])
    def test_limits_alone_deny_to(self, misdeed: str) -> None:
        assert probe(misdeed, "--unsealed", "--without", "_restrict_files", "_leave_files")["error"] != 0

    @pytest.mark.parametrize(
        ("layer", "misdeeds", "others"),
        [
            ("files", ["read a file", "list a directory", "write a file", "connect by TCP"], ["_leave_files"]),
            ("mounts", ["read a file", "list a directory", "write a file"], ["_restrict_files"]),
            ("network", ["connect by TCP", "send a datagram"], ["_restrict_files"]),
            ("user", ["become root", "signal the node", "trace the node", "mount"], ["_restrict_files"]),
        ],
    )
    def test_layer_denies_by_itself_or_is_told_to_be_missing(
        self, layer: str, misdeeds: list[str], others: list[str]
    ) -> None:
        for misdeed in misdeeds:
            found = probe(misdeed, "--unsealed", "--without", *others)
            layers = {name: (active, detail) for name, active, detail in found["layers"]}  # type: ignore[attr-defined]
            active, detail = layers[layer]
            assert detail
            assert not active or found["error"], misdeed

    def test_node_does_not_lend_its_environment(self) -> None:
        assert probe("find a variable", "--unsealed")["error"] == 2


class TestAnswers:
    """Equal calls get equal answers, and nothing of one contract reaches another."""

    async def test_script_gets_what_the_engine_prints(self) -> None:
        async with contract_pool() as pool:
            done = await pool.run(call_of(), Patience.ADMISSION)
        assert done.answer.output == OK
        assert b"Release version: 3.16.1" in done.answer.logs
        assert 0.0005 < done.cpu < 5
        assert 1 << 20 < done.memory < 200 << 20

    async def test_data_and_keys_reach_the_engine(self) -> None:
        script = "Given I have a 'string' named 'a'\nand I have a 'string' named 'b'\nThen print data\n"
        async with contract_pool() as pool:
            done = await pool.run(call_of(script, '{"a": "1"}', '{"b": "2"}'), Patience.ADMISSION)
        assert json.loads(done.answer.output) == {"a": "1", "b": "2"}

    async def test_failing_script_prints_nothing_but_the_engines_messages(self) -> None:
        async with contract_pool() as pool:
            done = await pool.run(call_of("Given nothing\nWhen I fly\n"), Patience.ADMISSION)
        assert done.answer.output == b""
        assert b"Zencode pattern not found" in done.answer.logs

    async def test_random_numbers_follow_from_the_seed_alone(self) -> None:
        async with contract_pool(2) as pool:
            seeds = [bytes(64), bytes(64), bytes([1]) + bytes(63), bytes(63) + bytes([1])]
            done = await asyncio.gather(
                *(pool.run(call_of(CHANCE, seed=seed), Patience.ADMISSION) for seed in seeds)
            )
        first, again, *others = (execution.answer.output for execution in done)
        assert first == again
        assert len({first, *others}) == 3

    @pytest.mark.slow
    async def test_thousand_calls_are_equal_and_leave_nothing_behind(self) -> None:
        async with contract_pool(2) as pool:
            await until(lambda: len(pool.pids) == 2)
            workers = pool.pids
            await asyncio.gather(*(pool.run(call_of(CHANCE), Patience.ADMISSION) for _ in range(20)))
            before = [await self._holdings(process) for process in (os.getpid(), *workers)]
            done = await asyncio.gather(*(pool.run(call_of(CHANCE), Patience.ADMISSION) for _ in range(1000)))
            after = [await self._holdings(process) for process in (os.getpid(), *workers)]
            assert pool.pids == workers
        assert len({execution.answer.output for execution in done}) == 1
        assert [descriptors for descriptors, _ in after] == [descriptors for descriptors, _ in before]
        for (_, memory), (_, later) in zip(before[1:], after[1:], strict=True):
            assert later < memory + (2 << 20)

    @staticmethod
    async def _holdings(process: int) -> tuple[int, int]:
        """Open descriptors and resident bytes of a worker when only its next child is left, or of this process."""
        await until(lambda: process == os.getpid() or len(children(process)) == 1)
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return len(os.listdir(f"/proc/{process}/fd")), pages * resource.getpagesize()

    async def test_deeply_nested_data_and_nul_come_out_the_same_each_time(self) -> None:
        script = "Given I have a 'string array' named 'a'\nThen print the 'a'\n"
        calls = [
            call_of(script, '{"a": ' + "[" * 300 + '"x"' + "]" * 300 + "}"),
            call_of("Given I have a 'string' named 'a'\nThen print the 'a'\n", '{"a": "b\\u0000c"}'),
            call_of("Given nothing\nThen print the string 'a\0b'\n"),
        ]
        async with contract_pool(2) as pool:
            for call in calls:
                done = await asyncio.gather(*(pool.run(call, Patience.ADMISSION) for _ in range(4)))
                assert len({execution.answer.output for execution in done}) == 1

    async def test_large_job_and_large_answer_come_through(self) -> None:
        text = "x" * 600_000
        script = "Given I have a 'string' named 'a'\nThen print the 'a'\n"
        async with contract_pool() as pool:
            done = await pool.run(call_of(script, json.dumps({"a": text})), Patience.ADMISSION)
        assert json.loads(done.answer.output) == {"a": text}


class TestLimits:
    """A limit is told as an overrun, never as a failed contract, and the next contract finds the worker well."""

    @staticmethod
    async def _overrun(pool: SandboxPool, call: ContractCall, patience: Patience = Patience.ADMISSION) -> str:
        with pytest.raises(ContractOverrun) as caught:
            await pool.run(call, patience)
        assert (await pool.run(call_of(), patience)).answer.output == OK
        return str(caught.value)

    async def test_processor_time_ends_a_contract_without_an_end(self) -> None:
        async with contract_pool(limits=SandboxLimits(seconds=0.2)) as pool:
            assert "processor time" in await self._overrun(pool, ENDLESS)

    async def test_proposals_get_four_times_the_processor_time(self) -> None:
        async with contract_pool(limits=SandboxLimits(seconds=0.1)) as pool:
            assert "more than 0.1 s" in await self._overrun(pool, ENDLESS)
            assert "more than 0.4 s" in await self._overrun(pool, ENDLESS, Patience.PROPOSAL)

    async def test_decided_contract_has_all_the_time_and_memory_it_needs(self) -> None:
        script = "Given nothing\nWhen I create the array of '2000' random objects of '4096' bytes\n" + PRINT_OK
        async with contract_pool(limits=SandboxLimits(seconds=0.01, memory_bytes=1 << 20)) as pool:
            with pytest.raises(ContractOverrun):
                await pool.run(call_of(script), Patience.ADMISSION)
            assert (await pool.run(call_of(script), Patience.DECIDED)).answer.output == OK

    async def test_memory_ends_a_contract_before_the_engine_misses_any(self) -> None:
        # It grows for long enough to be seen on a busy machine, too.
        rows = "When I create the array of '10000' random objects of '100000' bytes\n"
        call = call_of("Given nothing\n" + rows + PRINT_OK)
        async with contract_pool(limits=SandboxLimits(seconds=60, memory_bytes=40 << 20)) as pool:
            assert "bytes of memory" in await self._overrun(pool, call)

    async def test_ten_gigabytes_are_never_given(self) -> None:
        rows = "When I create the array of '10000' random objects of '1000000' bytes\n"
        call = call_of("Given nothing\n" + rows + PRINT_OK)
        limits = SandboxLimits(seconds=60, memory_bytes=100 << 20)
        async with contract_pool(limits=limits) as pool:
            assert "bytes of memory" in await self._overrun(pool, call)

    async def test_output_ends_a_contract_unless_its_block_is_decided(self) -> None:
        lines = "".join(f"Then print 'a' as 'string' in 'x{number}'\n" for number in range(20))
        call = call_of("Given I have a 'string' named 'a'\n" + lines, json.dumps({"a": "x" * 9_000}))
        async with contract_pool(limits=SandboxLimits(output_bytes=100_000)) as pool:
            for patience in (Patience.ADMISSION, Patience.PROPOSAL):
                assert "prints more than 100,000 bytes" in await self._overrun(pool, call, patience)
            assert len((await pool.run(call, Patience.DECIDED)).answer.output) > 180_000

    @pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
    async def test_crash_of_the_engine_is_an_overrun(self, number: signal.Signals) -> None:
        async with contract_pool(limits=SandboxLimits(seconds=60)) as pool:
            running = asyncio.create_task(self._overrun(pool, ENDLESS))
            await until(lambda: busiest_child(pool.pids[0]) is not None)
            worker = pool.pids
            os.kill(busiest_child(pool.pids[0]) or 0, number)
            assert number.name in await running
            assert pool.pids == worker

    async def test_only_what_exceeds_its_grant_is_said_to_last(self) -> None:
        async with contract_pool(limits=SandboxLimits(seconds=2)) as pool:
            running = asyncio.create_task(pool.run(ENDLESS, Patience.ADMISSION))
            await until(lambda: busiest_child(pool.pids[0]) is not None)
            os.kill(busiest_child(pool.pids[0]) or 0, signal.SIGKILL)
            with pytest.raises(ContractOverrun, match="from outside") as outside:
                await running
            with pytest.raises(ContractOverrun, match="processor time") as granted:
                await pool.run(ENDLESS, Patience.ADMISSION)
            assert (outside.value.lasting, granted.value.lasting) == (False, True)

    async def test_contract_that_corrupts_the_engines_memory_is_an_overrun(self) -> None:
        script = (
            "Scenario 'ethereum'\nGiven I have a 'string dictionary' named 'd'\nWhen I create the ethereum key\n"
            "When I create the ethereum signature of 'd'\n" + PRINT_OK
        )
        async with contract_pool() as pool:
            worker = pool.pids
            await self._overrun(pool, call_of(script, '{"d": {"a": "b"}}'))
            assert pool.pids == worker


class TestWorkers:
    """Workers come and go; calls do not notice."""

    async def test_calls_are_answered_in_their_order(self) -> None:
        finished: list[int] = []
        async with contract_pool() as pool:

            async def run(number: int) -> None:
                await pool.run(call_of(), Patience.ADMISSION)
                finished.append(number)

            await asyncio.gather(*(run(number) for number in range(8)))
        assert finished == list(range(8))

    async def test_all_workers_run_at_the_same_time(self) -> None:
        async with contract_pool(3, SandboxLimits(seconds=60)) as pool:
            assert pool.width == 3
            running = [asyncio.create_task(pool.run(ENDLESS, Patience.ADMISSION)) for _ in range(3)]
            await until(lambda: len(pool.pids) == 3 and all(busiest_child(worker) for worker in pool.pids))
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def test_killed_worker_is_replaced_and_queued_calls_go_on(self) -> None:
        async with contract_pool() as pool:
            first = pool.pids[0]
            calls = [asyncio.create_task(pool.run(call_of(), Patience.ADMISSION)) for _ in range(10)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            os.kill(first, signal.SIGKILL)
            assert {done.answer.output for done in await asyncio.gather(*calls)} == {OK}
            assert first not in pool.pids
            assert len(pool.pids) == 1

    async def test_worker_killed_while_idle_is_replaced(self) -> None:
        async with contract_pool() as pool:
            first = pool.pids[0]
            os.kill(first, signal.SIGKILL)
            await until(lambda: bool(pool.pids) and first not in pool.pids)
            assert (await pool.run(call_of(), Patience.ADMISSION)).answer.output == OK

    async def test_loss_of_two_workers_is_no_verdict_on_the_contract_in_them(self) -> None:
        async with contract_pool(limits=SandboxLimits(seconds=60)) as pool:
            running = asyncio.create_task(pool.run(ENDLESS, Patience.ADMISSION))
            for _ in range(2):
                await until(lambda: bool(pool.pids) and busiest_child(pool.pids[0]) is not None)
                os.kill(pool.pids[0], signal.SIGKILL)
                await until(lambda: not pool.pids)
            with pytest.raises(ContractsUnavailable, match="2 workers were lost"):
                await running
            assert (await pool.run(call_of(), Patience.ADMISSION)).answer.output == OK

    async def test_hung_worker_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "SILENCE_SECONDS", 1.5)
        async with contract_pool() as pool:
            hung = pool.pids[0]
            os.kill(hung, signal.SIGSTOP)
            assert (await pool.run(call_of(), Patience.ADMISSION)).answer.output == OK
            assert hung not in pool.pids
            assert not is_running(hung)

    async def test_worker_that_runs_a_long_contract_is_not_taken_for_hung(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "SILENCE_SECONDS", 2.5)
        async with contract_pool(limits=SandboxLimits(seconds=4)) as pool:
            worker = pool.pids
            with pytest.raises(ContractOverrun, match="processor time"):
                await pool.run(ENDLESS, Patience.ADMISSION)
            assert pool.pids == worker

    async def test_cancelled_call_ends_its_run_and_frees_its_worker(self) -> None:
        async with contract_pool(limits=SandboxLimits(seconds=600)) as pool:
            running = asyncio.create_task(pool.run(ENDLESS, Patience.ADMISSION))
            await until(lambda: busiest_child(pool.pids[0]) is not None)
            child = busiest_child(pool.pids[0]) or 0
            running.cancel()
            assert (await pool.run(call_of(), Patience.ADMISSION)).answer.output == OK
            assert not is_running(child)

    async def test_call_cancelled_in_the_queue_never_runs(self) -> None:
        async with contract_pool() as pool:
            calls = [asyncio.create_task(pool.run(call_of(), Patience.ADMISSION)) for _ in range(3)]
            waiting = asyncio.create_task(pool.run(ENDLESS, Patience.DECIDED))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(*calls)
            assert (await pool.run(call_of(), Patience.ADMISSION)).answer.output == OK

    async def test_closing_ends_every_process_and_refuses_waiting_calls(self) -> None:
        pool = SandboxPool(installed_engine(), SandboxLimits(seconds=600), 2)
        await pool.start()
        await until(lambda: len(pool.pids) == 2)
        calls = [asyncio.create_task(pool.run(ENDLESS, Patience.ADMISSION)) for _ in range(4)]
        await until(lambda: all(busiest_child(worker) for worker in pool.pids))
        processes = [*pool.pids, *(child for worker in pool.pids for child in children(worker))]
        await pool.close()
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(failure, ContractsUnavailable)
        assert pool.pids == ()
        await until(lambda: not any(map(is_running, processes)))
        with pytest.raises(ContractsUnavailable):
            await pool.run(call_of(), Patience.ADMISSION)

    async def test_node_killed_by_force_leaves_no_process_behind(self) -> None:
        command = [sys.executable, "-m", "tests.support.contract_pool"]
        node = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        assert node.stdout is not None
        workers = [int(word) for word in (await node.stdout.readline()).split()]
        await until(lambda: all(busiest_child(worker) for worker in workers))
        processes = [*workers, *(child for worker in workers for child in children(worker))]
        assert len(processes) >= 4
        os.kill(node.pid, signal.SIGKILL)
        await until(lambda: not any(map(is_running, processes)))
        await node.wait()


class TestMachines:
    """It works on machines that offer less, and says what is missing."""

    async def test_layers_are_reported_at_start(self) -> None:
        async with contract_pool() as pool:
            names = [layer.name for layer in pool.layers]
            assert names == [
                "room behind buffers", "limits", "memory requests", "memory shortage", "network", "mounts", "user",
                "files", "system calls",
            ]  # fmt: skip
            assert all(layer.detail for layer in pool.layers)

    @pytest.mark.parametrize(
        ("how", "missing"), [("user", {"user"}), ("container", {"network", "mounts", "files"})]
    )
    async def test_contracts_run_with_what_the_machine_offers_to(
        self, monkeypatch: pytest.MonkeyPatch, how: str, missing: set[str]
    ) -> None:
        with confined(monkeypatch, how):
            async with contract_pool(limits=SandboxLimits(seconds=0.3)) as pool:
                absent = {layer.name: layer.detail for layer in pool.layers if not layer.active}
                assert missing <= set(absent)
                assert all(absent.values())
                assert "system calls" not in absent
                assert (await pool.run(call_of(), Patience.ADMISSION)).answer.output == OK
                with pytest.raises(ContractOverrun, match="processor time"):
                    await pool.run(ENDLESS, Patience.ADMISSION)

    @pytest.mark.parametrize(("how", "advice"), [("no-seccomp", "pip install"), ("no-libseccomp", "libseccomp2")])
    async def test_without_seccomp_nothing_runs_and_the_message_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, how: str, advice: str
    ) -> None:
        with confined(monkeypatch, how), pytest.raises(ContractsUnavailable, match=advice):
            async with contract_pool():
                pass

    async def test_worker_that_never_comes_up_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "START_SECONDS", 0.5)
        with confined(monkeypatch, "stuck"), pytest.raises(ContractsUnavailable, match="not up after"):
            async with contract_pool():
                pass

    async def test_engine_of_another_version_than_its_package_is_refused(self) -> None:
        kind = EngineKind("zenroom 3.16.2", installed_engine().path, is_program=False)
        with pytest.raises(ContractsUnavailable, match=r"the engine says 3\.16\.1 where 3\.16\.2 is installed"):
            async with contract_pool(kind=kind):
                pass

    async def test_library_that_is_none_is_refused(self, tmp_path: Path) -> None:
        broken = tmp_path / "zenroom.so"
        broken.write_bytes(b"not a library")
        with pytest.raises(ContractsUnavailable, match="cannot be loaded"):
            async with contract_pool(kind=EngineKind("zenroom 3.16.1", broken, is_program=False)):
                pass

    def test_it_works_under_uvloop_beside_thousands_of_descriptors(self) -> None:
        import uvloop

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        many = 3000 if hard == resource.RLIM_INFINITY else min(3000, hard - 100)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, many + 100), hard))
        held = [os.open(os.devnull, os.O_RDONLY) for _ in range(many)]
        try:

            async def run() -> list[Execution]:
                async with contract_pool(2) as pool:
                    return await asyncio.gather(*(pool.run(call_of(), Patience.ADMISSION) for _ in range(20)))

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                assert {done.answer.output for done in runner.run(run())} == {OK}
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
