# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs that the node looks after: started again, left down, ended, and never left behind."""

import asyncio
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from planetmint.ports.errors import StoreError
from planetmint.runtime import children as module
from planetmint.runtime.children import Child, Program, Said, end_orphan
from planetmint.runtime.services import read_engine_line
from planetmint.runtime.settings import ConfigurationError
from tests.support.engine_log import consensus_failure

FOREVER = "print('up', flush=True)\nimport time\ntime.sleep(600)"
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER
ENDS = "print('panic: no luck', flush=True)\nraise SystemExit(3)"

Make = Callable[..., Child]


def read(line: str) -> Said:
    level = logging.ERROR if line.startswith("panic") else logging.INFO
    return Said(level, line, broken=line.startswith("broken"))


def program(folder: Path, code: str, grace: float = 20.0) -> Program:
    return Program("Tester", (sys.executable, "-c", code), folder, read, "Install it.", grace=grace)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "HELD_PAUSE", 0.01)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Child] = []

    def one(code: str, held: object = None, grace: float = 20.0) -> Child:
        child = Child(program(tmp_path, code, grace), held)  # type: ignore[arg-type]
        made.append(child)
        return child

    yield one
    for child in made:
        await child.stop()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def alive(pid: int) -> bool:
    return module._identity(pid) is not None


async def test_a_child_runs_until_it_is_stopped(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    child = make(FOREVER)
    await child.start()
    pid = child.pid
    assert pid is not None
    await until(lambda: "Tester: up" in caplog.text)
    assert child.trouble is None
    await child.stop()
    assert not alive(pid)
    assert child.trouble == "stopped"
    assert not child.program.pid_file.exists()
    await child.stop()


async def test_a_child_stands_in_a_session_of_its_own_so_that_ctrl_c_reaches_the_node_alone(make: Make) -> None:
    child = make(FOREVER)
    await child.start()
    assert child.pid is not None
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


async def test_a_child_cannot_speak_to_the_service_manager_in_place_of_the_node(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tarantool would: it reports its own state where it finds the socket."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    child = make(f"import os; print('told', os.environ.get('NOTIFY_SOCKET'), flush=True); {FOREVER}")
    await child.start()
    await until(lambda: "Tester: told" in caplog.text)
    assert "Tester: told None" in caplog.text


async def test_a_killed_child_is_started_again_and_said_so(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    child = make(FOREVER)
    await child.start()
    for starts in (2, 3):
        killed = child.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(
            lambda starts=starts, killed=killed: child.starts == starts and child.pid not in (None, killed)
        )  # type: ignore[misc]
    assert caplog.text.count("Tester ended (SIGKILL); it is started again") == 2


async def test_pauses_grow_and_the_last_words_are_said(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.04)
    child = make(ENDS)
    await child.start()
    await until(lambda: child.starts >= 5)
    said = [record.getMessage() for record in caplog.records if "started again in" in record.getMessage()]
    assert "exit code 3" in said[0]
    assert said[0].endswith("Its last words: panic: no luck")
    assert child.words() in ("panic: no luck", "")


async def test_a_child_that_says_it_is_broken_is_ended_and_started_again(make: Make) -> None:
    child = make("print('broken', flush=True)\nimport time\ntime.sleep(600)")
    await child.start()
    await until(lambda: child.starts >= 2)


def raises(line: str) -> Said:
    raise RecursionError(line)


async def restarted_by(make: Make, line: str) -> None:
    """A child that says this line and lives on, read as the engine is, until it has been started again."""
    child = make(f"print(open('line').read(), flush=True)\n{FOREVER}")
    child.program = dataclasses.replace(child.program, read=read_engine_line, alarm=b"CONSENSUS FAILURE")
    (child.program.folder / "line").write_text(line)
    await child.start()
    await until(lambda: child.starts >= 2)


@pytest.mark.parametrize("length", [1_938, 2_135, 60_000, 3_000_000])
async def test_an_engine_without_consensus_is_restarted_however_long_its_line_is(
    make: Make, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    await restarted_by(make, consensus_failure(length))
    assert "CONSENSUS FAILURE!!!" in caplog.text
    assert max(len(record.getMessage()) for record in caplog.records) < 2 * module.LINE_LENGTH


async def test_a_line_that_comes_in_pieces_is_one_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    await restarted_by(make, consensus_failure(2_135))


async def test_a_line_after_one_that_was_cut_is_read_from_its_beginning(make: Make) -> None:
    await restarted_by(make, "x" * 300_000 + "\n" + consensus_failure(2_135))


async def test_an_engine_without_consensus_is_restarted_although_it_floods_its_log(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINES_PER_SECOND", 0)
    await restarted_by(make, consensus_failure(2_135))


async def test_a_line_that_cannot_be_made_sense_of_is_reported_once_and_the_next_are_read(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    child = make("print('one', flush=True)\nprint('two', flush=True)\n" + FOREVER)
    child.program = dataclasses.replace(child.program, read=raises)
    await child.start()
    await until(lambda: "Tester: up" in caplog.text)
    assert "Tester: one" in caplog.text
    assert "Tester: two" in caplog.text
    assert caplog.text.count("Please report it") == 1
    assert child.starts == 1


async def test_a_child_whose_output_cannot_be_read_is_started_again_instead_of_standing_still(
    make: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._lines

    def fails_first(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
        monkeypatch.setattr(module, "_lines", real)
        raise RuntimeError("no more")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "_lines", fails_first)
    child = make(FOREVER)
    await child.start()
    await until(lambda: child.starts == 2 and "Tester: up" in caplog.text)
    assert "Please report it" in caplog.text


async def test_a_child_that_does_not_end_is_killed_after_the_grace(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    child = make(STUBBORN, grace=0.2)
    await child.start()
    await until(lambda: "Tester: up" in caplog.text)
    pid = child.pid
    assert pid is not None
    await child.stop()
    assert not alive(pid)
    assert "it is killed" in caplog.text


async def test_a_halted_child_can_be_stopped(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    handles = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye')))\n"
    child = make(handles + FOREVER)
    await child.start()
    await until(lambda: "Tester: up" in caplog.text)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await child.stop()
    assert "Tester: bye" in caplog.text
    assert "it is killed" not in caplog.text


async def test_stopping_while_it_pauses_starts_nothing_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 600.0)
    child = make(ENDS)
    await child.start()
    await until(lambda: child.pid is None)
    await child.stop()
    assert child.starts == 1


async def test_a_held_child_stays_down_says_why_once_and_is_started_when_nothing_speaks_against_it(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    reasons: list[str | None] = ["the chain waits"]

    async def held() -> str | None:
        return reasons[0]

    child = make(FOREVER, held)
    await child.start()
    await until(lambda: child.trouble == "the chain waits")
    await asyncio.sleep(0.1)
    assert (child.starts, child.pid) == (0, None)
    assert caplog.text.count("Tester is not started: the chain waits") == 1
    reasons[0] = None
    await until(lambda: child.pid is not None)
    reasons[0] = "again"
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.trouble == "again")
    assert child.starts == 1


@pytest.mark.parametrize(
    "error", [ConfigurationError("half a genesis file"), OSError("no such disk"), StoreError("no answer")]
)
async def test_a_failure_to_find_out_whether_it_is_held_is_a_reason_that_may_pass(
    make: Make, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    failure: list[Exception | None] = [None]

    async def held() -> str | None:
        if failure[0] is not None:
            raise failure[0]
        return None

    child = make(FOREVER, held)
    await child.start()
    failure[0] = error
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.trouble == str(error))
    assert f"Tester is not started: {error}" in caplog.text
    failure[0] = None
    await until(lambda: child.starts == 2)


async def test_an_error_of_the_nodes_own_while_looking_after_is_said_and_the_child_is_started_all_the_same(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Exception | None] = [None, KeyError("a"), KeyError("b"), None]

    async def held() -> str | None:
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer
        return None

    child = make(FOREVER, held)
    await child.start()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.starts == 2)
    assert caplog.text.count("Please report it") == 2
    assert child.trouble is None


async def test_stopping_ends_the_pause_after_an_error_of_the_nodes_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str | None] = [None]

    async def held() -> str | None:
        return answers.pop()

    child = make(ENDS, held)
    await child.start()
    monkeypatch.setattr(module, "FIRST_PAUSE", 600.0)
    await until(lambda: "own code" in str(child.trouble))
    await child.stop()
    assert child.starts == 1


async def test_a_missing_program_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    child = Child(Program("Tester", ("no-such-program",), tmp_path, read, "Install it."))
    with pytest.raises(ConfigurationError, match=r"`no-such-program`\. Install it\."):
        await child.start()


async def test_hostile_output_is_bounded_and_stays_on_its_line(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    code = (
        "import sys\n"
        "sys.stdout.buffer.write(b'\\xff\\x1b[2J\\r[CRITICAL] forged\\n' + b'x' * 3_000_000 + b'\\n')\n"
        "for _ in range(3_000): print('flood')\n"
    )
    child = make(code)
    await child.start()
    await until(lambda: "lines were left out" in caplog.text)
    await child.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert all(message.isprintable() for message in messages)
    assert max(len(message) for message in messages) < 2 * module.LINE_LENGTH
    assert sum("flood" in message for message in messages) < 3_000 * child.starts


async def test_a_child_that_an_earlier_node_left_behind_is_ended_first(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen([sys.executable, "-c", FOREVER], stdout=subprocess.DEVNULL) as orphan:
        child = make(FOREVER)
        child.program.pid_file.write_text(json.dumps(module._identity(orphan.pid)))
        await child.start()
        assert orphan.wait() == -signal.SIGTERM
    assert f"process {orphan.pid}" in caplog.text
    assert child.trouble is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x"}'])
async def test_what_is_no_note_of_a_child_ends_nobody(tmp_path: Path, text: str) -> None:
    told = program(tmp_path, FOREVER)
    told.pid_file.write_text(text)
    await end_orphan(told)


async def test_another_process_of_the_same_number_is_left_alone(tmp_path: Path) -> None:
    told = program(tmp_path, FOREVER)
    mine = module._identity(os.getpid())
    assert mine is not None
    told.pid_file.write_text(json.dumps({**mine, "started": mine["started"] - 1}))
    await end_orphan(told)


async def test_a_child_ends_with_its_node_however_that_ends(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
from tests.unit.runtime.test_children import FOREVER, program
from planetmint.runtime.children import Child

async def main():
    child = Child(program(Path({str(tmp_path)!r}), "open('up', 'w').close()\\n" + FOREVER))
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    node = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert node.stdout is not None
    pid = int(await node.stdout.readline())
    await until((tmp_path / "up").exists)
    assert alive(pid)
    node.kill()
    await node.wait()
    await until(lambda: not alive(pid))
