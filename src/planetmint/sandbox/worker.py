# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker: a locked-down process that forks a child for each contract and watches it.

`python -m planetmint.sandbox.worker DESCRIPTOR library|program PATH VERSION`. A fresh child stands ready in its
jail before its contract comes, so that nobody waits for the fork. Nothing a contract does to its child reaches
the worker: it only reads two pipes, a clock and a number of pages.
"""

import contextlib
import gc
import os
import re
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn, Protocol

from planetmint.sandbox import frames
from planetmint.sandbox.jail import Jail, JailError
from planetmint.sandbox.logs import Logs
from planetmint.sandbox.program import Program
from planetmint.sandbox.zenroom import Library

_CONTROL = 3
_WATCH_MS = 4
_CHUNK = 1 << 16
_READS = 16
"""Of a pipe before anything else is looked at, which is more than one holds: a child may print for ever."""
_DONE = struct.Struct("<dQ")
"""What a child says when its engine has returned, because its end takes a while longer: the seconds of processor
time and the most bytes of memory that it used. Of somebody who may have been misled, so it decides nothing."""
_SIZE = struct.Struct("<I")
"""Bytes of a job, before it."""
_FORKS = 50
_FORK_AGAIN_SECONDS = 0.1
_NOT_STARTED = 126
"""Exit code from which on a program did not come to its start: shells and the loader of libraries say so too."""
_DENIALS = (signal.SIGSYS, signal.SIGXCPU)
"""Signals by which the kernel ends what exceeds its limits; any other may come from outside."""
_PROBE_SECONDS = 20.0

_VERSION = re.compile(rb"Release version: v?([0-9A-Za-z][0-9A-Za-z.+_-]*)")


_NO_JOB = frames.Job(0, 0, 0, 0, b"", b"", b"", None)


class Engine(Protocol):
    """How a child runs a contract.

    Attributes:
        says_done: Whether `execute` returns, so that the child can say that it is done; else its end says so.
    """

    says_done: bool

    def tune(self) -> bool:
        """Prepare the worker, before it is locked down; whether buffers have room behind them (see `padding`)."""

    def warm(self) -> None:
        """Prepare a child, before its contract comes."""

    def execute(self, job: frames.Job, jail: Jail) -> None:
        """Run a contract in a child; seals the jail first where that was not possible before."""


class Overrun(Exception):
    """The run needs more than its job grants; the message says what."""

    kind = frames.OVERRUN


class Mishap(Overrun):
    """The run was ended by something else, perhaps from outside; the message says by what."""

    kind = frames.MISHAP


class _Child(NamedTuple):
    """A child in its jail. The descriptors are the worker's ends of its pipes."""

    process: int
    job: int
    output: int
    logs: int
    done: int


class _Channel:
    """Frames from and to the pool. The end of the pool is the end of this process."""

    def __init__(self) -> None:
        self._received = bytearray()

    def send(self, kind: int, number: int, body: bytes = b"") -> None:
        rest = memoryview(frames.frame(kind, number, body))
        try:
            while rest:
                rest = rest[os.write(_CONTROL, rest) :]
        except OSError:
            _leave()

    def receive(self) -> tuple[int, int, bytes]:
        """The next frame: kind, number, body."""
        while (frame := self._next()) is None:
            self._read()
        return frame

    def cancelled(self, number: int) -> bool:
        """Whether the pool wants the run of this number to end; call when the control socket is readable."""
        self._read()
        while frame := self._next():
            if frame[:2] == (frames.CANCEL, number):
                return True
        return False

    def _next(self) -> tuple[int, int, bytes] | None:
        if len(self._received) < frames.HEAD.size:
            return None
        kind, number, size = frames.HEAD.unpack_from(self._received)
        end = frames.HEAD.size + size
        if len(self._received) < end:
            return None
        body = bytes(self._received[frames.HEAD.size : end])
        del self._received[:end]
        return kind, number, body

    def _read(self) -> None:
        try:
            data = os.read(_CONTROL, 1 << 20)
        except OSError:
            data = b""
        if not data:
            _leave()
        self._received += data


class Worker:
    """One contract at a time, each in a child of its own."""

    def __init__(self, engine: Engine, jail: Jail, channel: _Channel) -> None:
        self._engine = engine
        self._jail = jail
        self._channel = channel
        self._pid = os.getpid()
        self._spare: _Child | None = None
        self._ending = set[int]()
        """Children that are killed but not collected yet: that takes a moment, and nobody waits for it."""

    def prepare(self) -> None:
        """Have a child ready for the next contract."""
        if self._spare is None:
            with contextlib.suppress(OSError):  # too many processes: once more when a contract comes
                self._spare = self._fork()

    def serve(self) -> NoReturn:
        while True:
            self.prepare()
            self._collect_ended()
            kind, number, body = self._channel.receive()
            if kind == frames.JOB:  # else the cancellation of a run that is over
                self._run(number, body, self._channel.send)

    def try_out(self, job: frames.Job) -> tuple[int, frames.Report]:
        """Run a contract of our own: ANSWER, OVERRUN or MISHAP, and its report."""
        answers = []
        self._run(
            0, frames.encode_job(job), lambda kind, _, body: answers.append((kind, frames.decode_report(body)))
        )
        return answers[0]

    def _run(self, number: int, body: bytes, answer: Callable[[int, int, bytes], None]) -> None:
        """Run one contract and answer."""
        run = _Run(self._take(), number, self._channel, self._jail, self._engine)
        try:
            run.hand_over(body)
            report = run.follow(self.prepare)
        except Overrun as overrun:
            report = frames.Report(0.0, 0, str(overrun).encode(), b"")
            answer(overrun.kind, number, frames.encode_report(report))
        else:
            answer(frames.ANSWER, number, frames.encode_report(report))
        finally:
            self._ending.update(run.end())

    def _collect_ended(self) -> None:
        """Collect ended children until the next frame comes."""
        poll = select.poll()
        poll.register(_CONTROL, select.POLLIN)
        while self._ending:
            self._ending = {process for process in self._ending if os.waitpid(process, os.WNOHANG)[0] == 0}
            if self._ending and poll.poll(1):
                return

    def _take(self) -> _Child:
        """The spare child; another one if somebody ended it meanwhile."""
        for _ in range(_FORKS):
            self.prepare()
            child, self._spare = self._spare, None
            if child is None:
                time.sleep(_FORK_AGAIN_SECONDS)
                continue
            if os.waitpid(child.process, os.WNOHANG) == (0, 0):
                return child
            for pipe in child[1:]:
                os.close(pipe)
        raise OSError("no process could be forked for a contract")

    def _fork(self) -> _Child:
        theirs, job = os.pipe()
        pipes = [os.pipe() for _ in range(3)]
        process = os.fork()
        if process == 0:
            self._become_child((theirs, *(inner for _, inner in pipes)))
        os.close(theirs)
        for _, inner in pipes:
            os.close(inner)
        child = _Child(process, job, *(outer for outer, _ in pipes))
        for pipe in child[1:]:
            os.set_blocking(pipe, False)
        return child

    def _become_child(self, pipes: tuple[int, ...]) -> NoReturn:
        """Take the descriptors 0 to 3, go to jail, wait for a contract and run it."""
        code = 0
        try:
            for target, source in enumerate(pipes):
                os.dup2(source, target)
            self._jail.step_back()
            self._engine.warm()
            self._jail.enter_child(self._pid)
            if self._engine.says_done:
                self._jail.seal()
            job = frames.decode_job(_read_job())
            begun = time.process_time()
            self._engine.execute(job, self._jail)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            os.write(3, _DONE.pack(time.process_time() - begun, most))
        except OSError as error:
            code = _NOT_STARTED
            os.write(2, str(error).encode())
        finally:
            os._exit(code)


class _Run:
    """One child at work."""

    def __init__(self, child: _Child, number: int, channel: _Channel, jail: Jail, engine: Engine) -> None:
        self._child = child
        self._job = _NO_JOB
        self._number = number
        self._channel = channel
        self._jail = jail
        self._engine = engine
        self._clock = (~child.process << 3) | 2
        """The kernel's number for the processor time of that process."""
        self._open = set(child[1:])
        self._collected = False
        self._output = bytearray()
        self._logs = Logs()
        self._base_time = 0.0
        self._base_memory = 0
        self._memory = 0
        self._started = self._beaten = time.monotonic()

    def hand_over(self, body: bytes) -> None:
        """Write the job into the child's pipe, before all else."""
        rest = memoryview(_SIZE.pack(len(body)) + body)
        written = self._write(rest)
        self._job = frames.decode_job(body)
        self._base_time = self._time()
        self._base_memory = self._memory = self._resident()
        if self._job.cpu:
            seconds = int(self._job.cpu + self._base_time) + 3  # should this process ever be stopped
            with contextlib.suppress(OSError):  # it may be gone already
                resource.prlimit(self._child.process, resource.RLIMIT_CPU, (seconds, seconds))
        poll = select.poll()
        poll.register(self._child.job, select.POLLOUT)
        poll.register(_CONTROL, select.POLLIN)
        while rest := rest[written:]:
            if any(descriptor == _CONTROL for descriptor, _ in poll.poll(_WATCH_MS)):
                self._heed()
            self._watch_time()
            written = self._write(rest)
        self._close(self._child.job)

    def _write(self, rest: memoryview) -> int:
        """How much of it went into the child's pipe; all, where the child is gone: `follow` finds out why."""
        try:
            return os.write(self._child.job, rest)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(rest)

    def follow(self, meanwhile: Callable[[], None]) -> frames.Report:
        """Read what the child prints until it is done. Raises Overrun.

        Args:
            meanwhile: Called between two looks; not at once, as the child needs a processor to start.
        """
        # What the child prints waits in its pipes: the engine writes word by word, and to be woken by each would
        # cost more than the engine itself.
        poll = select.poll()
        poll.register(self._child.done, select.POLLIN)
        poll.register(_CONTROL, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll(_WATCH_MS):
                if descriptor == self._child.done:
                    return self._finish()
                self._heed()
            self._drain()
            self._watch_time()
            self._watch_memory()
            meanwhile()

    def end(self) -> set[int]:
        """Kill the child, wherever it is, and close what is open of its pipes; the process to collect, if any."""
        for descriptor in tuple(self._open):
            self._close(descriptor)
        if self._collected:
            return set()
        os.kill(self._child.process, signal.SIGKILL)
        return {self._child.process}

    def _finish(self) -> frames.Report:
        """What came of it. Raises Overrun where the engine did not return."""
        said = os.read(self._child.done, _DONE.size)
        self._drain()
        logs = self._logs.text()
        if len(said) == _DONE.size:
            cpu, memory = _DONE.unpack(said)
            if not 0 <= cpu <= 0.1 + 2 * (time.monotonic() - self._started):  # the two clocks may drift apart
                cpu = 0.0
        else:
            cpu, memory = max(self._time() - self._base_time, 0.0), self._memory
            status = self._collect()
            if self._engine.says_done or os.WIFSIGNALED(status) or os.WEXITSTATUS(status) >= _NOT_STARTED:
                granted = os.WIFSIGNALED(status) and os.WTERMSIG(status) in _DENIALS
                raise (Overrun if granted else Mishap)(_end_text(status, logs))
        if self._logs.short_of_memory:
            raise Mishap("the contract needs more memory than this machine has")
        return frames.Report(cpu, max(memory, self._memory), bytes(self._output), logs)

    def _collect(self) -> int:
        """The status with which the child ended; killed unless it is on its way out already."""
        os.kill(self._child.process, signal.SIGKILL)
        self._collected = True
        return os.waitpid(self._child.process, 0)[1]

    def _close(self, descriptor: int) -> None:
        self._open.remove(descriptor)  # its number may be in use again soon, for a pipe of the next child
        os.close(descriptor)

    def _drain(self) -> None:
        """Take what is in the pipes. Raises Overrun; not for messages, which depend on the machine."""
        self._output += _read(self._child.output)
        if len(self._output) > self._job.output:
            raise Overrun(f"the contract prints more than {self._job.output:,} bytes")
        self._logs.add(_read(self._child.logs))

    def _heed(self) -> None:
        if self._channel.cancelled(self._number):
            raise Mishap("the run was cancelled")

    def _watch_time(self) -> None:
        now = time.monotonic()
        if now - self._beaten >= frames.BEAT_SECONDS:
            self._channel.send(frames.BEAT, self._number)
            self._beaten = now
        if self._job.wall and now - self._started > self._job.wall:
            raise Mishap(f"the contract was not done after {self._job.wall:g} s")  # others were
        if self._job.cpu and self._time() - self._base_time > self._job.cpu:
            raise Overrun(f"the contract needs more than {self._job.cpu:g} s of processor time")

    def _watch_memory(self) -> None:
        self._memory = max(self._memory, self._resident())
        if self._job.memory and self._memory - self._base_memory > self._job.memory:
            raise Overrun(f"the contract needs more than {self._job.memory:,} bytes of memory")

    def _time(self) -> float:
        """Processor time of the child so far; 0 where it is gone."""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return 0.0

    def _resident(self) -> int:
        """Memory of the child in bytes; 0 where it is gone."""
        try:
            return self._jail.resident_bytes(self._child.process)
        except (OSError, IndexError):
            return 0


def _leave() -> NoReturn:
    """End this process and all its children, where they form a group; else children follow their parent."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _read_job() -> bytes:
    """Wait for a job on the descriptor 0. Raises OSError where the worker ends before."""
    received = b""
    while len(received) < _SIZE.size or len(received) < _SIZE.size + _SIZE.unpack_from(received)[0]:
        chunk = os.read(0, _CHUNK)
        if not chunk:
            raise OSError("the worker ended")
        received += chunk
    return received[_SIZE.size :]


def _read(descriptor: int) -> bytes:
    """What is in a pipe; nothing also at its end."""
    parts = []
    with contextlib.suppress(BlockingIOError):
        for _ in range(_READS):
            parts.append(os.read(descriptor, _CHUNK))
            if not parts[-1]:
                break
    return b"".join(parts)


def _end_text(status: int, logs: bytes) -> str:
    """Why a child ended before its engine returned."""
    if not os.WIFSIGNALED(status):
        lines = logs.decode(errors="replace").strip().splitlines()
        return f"the contract ended the engine's process{': ' + lines[-1][:200] if lines else ''}"
    number = os.WTERMSIG(status)
    name = signal.Signals(number).name
    if number == signal.SIGSYS:
        return f"the contract made the engine ask the system for something that is denied ({name})"
    if number == signal.SIGXCPU:
        return "the contract needs more processor time than is granted"
    if number == signal.SIGKILL:
        return f"the contract's process was ended from outside ({name})"
    return f"the contract made the engine crash ({name})"


def _load(kind: str, path: str) -> tuple[Engine, Jail]:
    if kind == "program":
        return Program(path), Jail(path)
    try:
        return Library(path), Jail()
    except (OSError, AttributeError) as error:
        raise JailError(f"the contract engine {path} cannot be loaded: {error}") from error


def _probe(worker: Worker, version: str) -> None:
    """Run one trivial contract and compare the engine's own word for its version with the package's."""
    job = frames.Job(
        0, _PROBE_SECONDS, 0, _CHUNK, bytes(64), b"Given nothing\nThen print the string 'ok'\n", b"{}", None
    )
    kind, report = worker.try_out(job)
    if kind != frames.ANSWER:
        raise JailError(f"a trial run failed in the sandbox: {report.output.decode()}")
    if report.output.strip() != b'{"output":["ok"]}':
        raise JailError(f"a trial run printed {report.output[:200]!r}, {report.logs[-500:]!r}")
    found = _VERSION.search(report.logs)
    if found is None or found[1] != version.encode():
        said = found[1].decode() if found else "no version"
        raise JailError(f"the engine says {said} where {version} is installed: install the package again")


def main(arguments: list[str]) -> NoReturn:
    os.dup2(int(arguments[0]), _CONTROL, inheritable=False)
    os.closerange(_CONTROL + 1, max(int(arguments[0]), _CONTROL) + 1)
    channel = _Channel()
    try:
        engine, jail = _load(arguments[1], arguments[2])
        jail.note_room(engine.tune())
        os.environ.clear()
        jail.enter()
        gc.collect()
        gc.freeze()
        gc.disable()
        worker = Worker(engine, jail, channel)
        _probe(worker, arguments[3])
    except (JailError, OSError) as error:
        channel.send(frames.FAILED, 0, str(error).encode())
        os._exit(1)
    lines = (f"{layer.name}\t{int(layer.active)}\t{layer.detail}" for layer in jail.layers)
    channel.send(frames.HELLO, 0, "\n".join(lines).encode())
    worker.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
