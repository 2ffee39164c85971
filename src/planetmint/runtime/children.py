# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs that the node starts and looks after: the consensus engine and Tarantool.

A child that ends is started again after a pause that grows; its output goes into the node's log. It stands in a
session of its own, so that Ctrl-C of a terminal reaches the node alone, and it ends with the node, however that
ends. Source: cli-and-config 2.3 and 3.4, elections-and-operations 7.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planetmint.ports.errors import StoreError
from planetmint.runtime import leash, notify
from planetmint.runtime.files import write_whole
from planetmint.runtime.settings import ConfigurationError

FIRST_PAUSE = 0.2
"""Seconds before a child that ended is started again for the first time; each time twice as long."""

LONGEST_PAUSE = 15.0
HELD_PAUSE = 1.0
"""Seconds after which it is asked again whether a child that is held may be started."""

STEADY = 30.0
"""Seconds after which a child counts as well again, so that the next pause is a short one."""

MAX_LINE_BYTES = 65_536
"""Bytes of a line that are made sense of; what follows is passed over. A report with a stack has thousands."""

LINE_LENGTH = 2_000
"""Characters of a line that are shown."""

LINES_PER_SECOND = 200
"""More than so many are counted and left out: a child in trouble must not drown the node's log."""

_CHUNK = 65_536
_LAST_WORDS = 5
_POLL = 0.02

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a child, as it goes into the node's log.

    Attributes:
        level: Of Python's logging.
        text: Without level and time.
        broken: Whether it says that the child lives but cannot work any more: it is ended and started again.
    """

    level: int
    text: str
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and how to live with it.

    Attributes:
        name: As operators know it.
        command: Program and arguments; the program as a path.
        folder: Working folder; the process id is kept there too.
        read: Makes sense of a line of output.
        remedy: What to do where the program is missing.
        environment: Variables besides the node's own.
        grace: Seconds from SIGTERM to SIGKILL.
        alarm: Bytes that every line has that says `broken`: such lines are looked at however many there are.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    read: Callable[[str], Said]
    remedy: str
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0
    alarm: bytes | None = None

    @property
    def pid_file(self) -> Path:
        """Holds the process id of the child, or of the last one."""
        return self.folder / "child.pid"


class Child:
    """A program under supervision.

    Args:
        program: What to run.
        held: Why it should not be started, in a sentence; None where it may. Asked before each start, and again
            and again while it says why. A ConfigurationError, OSError or StoreError of it is a reason too.
    """

    def __init__(self, program: Program, held: Callable[[], Awaitable[str | None]] | None = None) -> None:
        self.program = program
        self.starts = 0
        self._held = held
        self._log = logging.getLogger(f"{__name__}.{program.name.lower()}")
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._puzzled = False
        self._down: str | None = "not started yet"
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)

    @property
    def pid(self) -> int | None:
        """Its process id; None while it is down."""
        return self._process.pid if self._process is not None else None

    @property
    def trouble(self) -> str | None:
        """Why it is down, in a sentence; None while it runs."""
        return self._down

    async def start(self) -> None:
        """Start it, after ending one that an earlier node left behind; look after it from now on.

        Raises:
            ConfigurationError: It cannot be run.
        """
        await end_orphan(self.program)
        if await self._why_held() is None:
            await self._spawn()
        self._task = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after the grace; may be called twice."""
        self._stopping = True
        self._terminate()
        if self._task is None:
            return
        try:
            # While it pauses nothing is there to end.
            if self._process is None:
                self._task.cancel()
            await asyncio.wait({self._task}, timeout=self.program.grace)
            if not self._task.done():
                self._log.warning(f"{self.program.name} does not end; it is killed.")
                self._kill()
            await asyncio.wait({self._task})
        finally:
            self._kill()
            self._task.cancel()
            self._task = None

    async def _look_after(self) -> None:
        """Look after it until it is stopped; an error in the node's own code is said and does not end that."""
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                return await self._look_after_while_well()
            except Exception:  # noqa: BLE001 - the child is needed whatever this was
                if time.monotonic() - began > STEADY:
                    pause = FIRST_PAUSE
                self._report_bug(f"{self.program.name} is looked after again in {pause:.1f} s")
                if self._process is None:
                    self._down = f"an error in the node's own code kept {self.program.name} from being started"
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _look_after_while_well(self) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await self._live() if self._process is not None else None
            if self._stopping:
                self._down = "stopped"
                with contextlib.suppress(OSError):
                    self.program.pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() - began > STEADY:
                pause = FIRST_PAUSE
            if code is not None:
                self._down = f"{self.program.name} ended ({how_ended(code)})"
            if await self._let_go():
                pause = FIRST_PAUSE
            else:
                words = f" Its last words: {self.words()}" if self._last_words else ""
                self._log.error(f"{self._down}; it is started again in {pause:.1f} s.{words}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            await self._respawn()

    def _report_bug(self, consequence: str) -> None:
        """Log the exception at hand, which nobody foresaw."""
        self._log.error(f"An error in the node's own code: {consequence}. Please report it.", exc_info=True)

    async def _why_held(self) -> str | None:
        if self._held is None:
            return None
        try:
            return await self._held()
        except (ConfigurationError, OSError, StoreError) as error:
            # A file that is being replaced, say: it is looked at again.
            return str(error)

    async def _let_go(self) -> bool:
        """Wait while something speaks against a start; whether anything did. Each new reason is said."""
        said: str | None = None
        while (reason := await self._why_held()) is not None:
            if reason != said:
                self._log.error(f"{self.program.name} is not started: {reason}")
            self._down = said = reason
            await asyncio.sleep(HELD_PAUSE)
        return said is not None

    async def _respawn(self) -> None:
        """Start again; a failure (no memory, no processes) is said and counts as an end at once."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._spawn()
            except ConfigurationError as error:
                self._down = str(error)
                self._log.error(f"{error}; tried again in {pause:.1f} s.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _spawn(self) -> None:
        program = self.program
        path = resolve(program.command[0])
        if path is None:
            raise ConfigurationError(
                f"{program.name}: there is no program `{program.command[0]}`. {program.remedy}"
            )
        self._last_words.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), path, *program.command[1:]),
                cwd=program.folder,
                env={**_own_environment(), **program.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ConfigurationError(f"{program.name} cannot be started ({error.strerror})") from None
        self.starts += 1
        self._down = None
        with contextlib.suppress(OSError):  # of use after a crash only; a full disk must not keep the child down
            write_whole(program.pid_file, json.dumps(_identity(self._process.pid)) + "\n")
        self._log.info(f"{program.name} runs (process {self._process.pid}).")
        if self._stopping:
            self._terminate()

    async def _live(self) -> int:
        """Read what it says until it has ended; its exit code, negative for a signal."""
        process = self._process
        assert process is not None and process.stdout is not None
        try:
            await self._listen(process.stdout)
        except Exception:  # noqa: BLE001 - nobody reads what it says any more, so it would stand still soon
            self._report_bug(f"what {self.program.name} says cannot be read; it is ended and started again")
            self._end()
        code = await process.wait()
        self._process = None
        return code

    async def _listen(self, output: asyncio.StreamReader) -> None:
        second, count, left_out = 0.0, 0, 0
        async for line in _lines(output):
            now = time.monotonic()
            if now - second >= 1.0:
                if left_out:
                    self._log.warning(f"{self.program.name}: {left_out} lines were left out.")
                second, count, left_out = now, 0, 0
            count += 1
            if count <= LINES_PER_SECOND:
                self._hear(line)
                continue
            left_out += 1
            if self.program.alarm is not None and self.program.alarm in line:
                self._heed(self._understand(_text_of(line)))
        if left_out:
            self._log.warning(f"{self.program.name}: {left_out} lines were left out.")

    def _hear(self, line: bytes) -> None:
        text = _text_of(line)
        if not text:
            return
        said = self._understand(text)
        shown = said.text[:LINE_LENGTH]
        # Bytes of others may stand in it; a line stays a line.
        if not shown.isprintable():
            shown = shown.encode("unicode_escape").decode("ascii")[:LINE_LENGTH]
        if said.level >= logging.WARNING:
            self._last_words.append(shown)
        # What it complains about while it is being ended is of no interest.
        level = logging.DEBUG if self._stopping and said.level <= logging.WARNING else said.level
        self._log.log(level, f"{self.program.name}: {shown}")
        self._heed(said)

    def _understand(self, text: str) -> Said:
        try:
            return self.program.read(text)
        except Exception:  # noqa: BLE001 - one line is not worth more than that it is shown as it came
            if not self._puzzled:
                self._puzzled = True
                self._report_bug(f"a line of {self.program.name} cannot be made sense of")
            return Said(logging.WARNING, text)

    def _heed(self, said: Said) -> None:
        if said.broken and not self._stopping:
            self._end()

    def _end(self) -> None:
        """Have the process of now end, after the grace by force."""
        self._terminate()
        asyncio.get_running_loop().call_later(self.program.grace, self._kill_if_still, self._process)

    def words(self) -> str:
        """What it complained about last; empty where it did not."""
        return " | ".join(self._last_words)

    def _terminate(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
                self._process.send_signal(signal.SIGCONT)  # one that is halted cannot end

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _kill_if_still(self, process: asyncio.subprocess.Process | None) -> None:
        if process is self._process:
            self._kill()


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, each without its end and cut to `MAX_LINE_BYTES`; a last one may lack its end."""
    rest = b""
    while chunk := await output.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line[:MAX_LINE_BYTES]
        rest = rest[: MAX_LINE_BYTES + 1]
    if rest:
        yield rest[:MAX_LINE_BYTES]


def _text_of(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()


def _own_environment() -> dict[str, str]:
    """The node's environment without the service manager's socket: Tarantool would report itself there."""
    return {name: value for name, value in os.environ.items() if name != notify.VARIABLE}


async def end_orphan(program: Program) -> None:
    """End the child that an earlier node left behind, if there is one."""
    try:
        known = json.loads(program.pid_file.read_bytes())
        pid = int(known["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    if _identity(pid) != known:
        return
    _log.warning(f"An earlier node left {program.name} behind (process {pid}); it is ended.")
    for number, patience in ((signal.SIGTERM, program.grace), (signal.SIGKILL, program.grace)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)
        for _ in range(round(patience / _POLL)):
            if _identity(pid) != known:
                return
            await asyncio.sleep(_POLL)
    raise ConfigurationError(f"{program.name} of an earlier node (process {pid}) does not end: end it first")


def resolve(program: str) -> str | None:
    """The path of a program that can be run, as the shell would find it; None where there is none."""
    return shutil.which(program)


def _identity(pid: int) -> dict[str, int] | None:
    """What tells this process from a later one of the same number; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name, which may hold anything, stands in parentheses; the state follows, and the start 19 fields later.
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return {"pid": pid, "started": int(fields[19])}


def how_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
