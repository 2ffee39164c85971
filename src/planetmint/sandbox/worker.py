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
import sys
import time
from typing import NamedTuple, NoReturn, Protocol

from planetmint.sandbox import frames
from planetmint.sandbox.jail import Jail, JailError
from planetmint.sandbox.zenroom import Library, configuration

_CONTROL = 3
_WATCH_MS = 4
_CHUNK = 1 << 16
_DONE = 77
"""Exit code of a child whose engine returned; an engine that ends its process has another."""
_PROBE_SECONDS = 20.0

_VERSION = re.compile(rb"Release version: v?([0-9A-Za-z][0-9A-Za-z.+_-]*)")
_SHORT_OF_MEMORY = re.compile(
    rb"^\[!\].*(?:not enough memory|(?:Could|Cuold|could) not allocate|[Ee]rror allocating|failed to allocate)",
    re.MULTILINE,
)
"""What the engine says when the system refuses memory. It then goes on to "false", which would be a verdict."""


class Engine(Protocol):
    """How a child runs a contract."""

    def tune(self) -> None: ...

    def warm(self) -> None: ...

    def execute(self, script: bytes, conf: bytes, keys: bytes | None, data: bytes) -> None: ...


class Overrun(Exception):
    """The run needs more than its job grants; the message says what."""


class _Child(NamedTuple):
    """A child in its jail. The descriptors are the worker's ends of its pipes."""

    process: int
    job: int
    output: int
    logs: int


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
            os._exit(0)

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
            os._exit(0)  # children follow their parent
        self._received += data


class Worker:
    """One contract at a time, each in a child of its own."""

    def __init__(self, engine: Engine, jail: Jail, channel: _Channel) -> None:
        self._engine = engine
        self._jail = jail
        self._channel = channel
        self._pid = os.getpid()
        self._spare: _Child | None = None

    def prepare(self) -> None:
        """Have a child ready for the next contract."""
        if self._spare is None:
            self._spare = self._fork()

    def serve(self) -> NoReturn:
        while True:
            self.prepare()
            kind, number, body = self._channel.receive()
            if kind != frames.JOB:
                continue  # the cancellation of a run that is over
            try:
                report = self.run(number, frames.decode_job(body))
            except Overrun as overrun:
                report = frames.Report(0.0, 0, str(overrun).encode(), b"")
                self._channel.send(frames.OVERRUN, number, frames.encode_report(report))
            else:
                self._channel.send(frames.ANSWER, number, frames.encode_report(report))

    def run(self, number: int, job: frames.Job) -> frames.Report:
        """Run one contract. Raises Overrun; whatever happens, its child is gone and its pipes are closed."""
        child = self._take()
        run = _Run(child, job, number, self._channel, self._jail)
        try:
            run.hand_over()
            self.prepare()
            run.follow()
        finally:
            run.close()
            status, usage = _end(child.process)
        return run.report(status, usage)

    def _take(self) -> _Child:
        """The spare child; another one if somebody ended it meanwhile."""
        while True:
            child = self._spare or self._fork()
            self._spare = None
            if os.waitpid(child.process, os.WNOHANG) == (0, 0):
                return child
            for pipe in child[1:]:
                os.close(pipe)

    def _fork(self) -> _Child:
        (job_in, job), (output, output_in), (logs, logs_in) = os.pipe(), os.pipe(), os.pipe()
        process = os.fork()
        if process == 0:
            self._become_child(job_in, output_in, logs_in)
        for pipe in (job_in, output_in, logs_in):
            os.close(pipe)
        for pipe in (job, output, logs):
            os.set_blocking(pipe, False)
        return _Child(process, job, output, logs)

    def _become_child(self, job: int, output: int, logs: int) -> NoReturn:
        code = 1
        try:
            for source, target in ((job, 0), (output, 1), (logs, 2)):
                os.dup2(source, target)
            self._engine.warm()
            self._jail.enter_child(self._pid)
            received = []
            while chunk := os.read(0, _CHUNK):
                received.append(chunk)
            task = frames.decode_job(b"".join(received))
            self._engine.execute(task.script, configuration(task.seed), task.keys, task.data)
            code = _DONE
        except OSError as error:
            os.write(2, str(error).encode())
        finally:
            os._exit(code)


class _Run:
    """One child at work."""

    def __init__(self, child: _Child, job: frames.Job, number: int, channel: _Channel, jail: Jail) -> None:
        self._child = child
        self._job = job
        self._number = number
        self._channel = channel
        self._jail = jail
        self._clock = (~child.process << 3) | 2
        """The kernel's number for the processor time of that process."""
        self._open = set(child[1:])
        self._parts: dict[int, list[bytes]] = {child.output: [], child.logs: []}
        self._sizes = {child.output: 0, child.logs: 0}
        self._base_memory = self._memory() or 0
        self._base_time = self._time() or 0.0
        self._started = self._beaten = time.monotonic()

    def hand_over(self) -> None:
        """Write the job into the child's pipe."""
        if self._job.cpu:
            seconds = int(self._job.cpu + self._base_time) + 3  # should this process ever be stopped
            resource.prlimit(self._child.process, resource.RLIMIT_CPU, (seconds, seconds))
        rest = memoryview(frames.encode_job(self._job))
        poll = select.poll()
        poll.register(self._child.job, select.POLLOUT)
        poll.register(_CONTROL, select.POLLIN)
        while rest:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                rest = rest[os.write(self._child.job, rest) :]
                continue
            for descriptor, event in poll.poll(_WATCH_MS):
                if descriptor == self._child.job and event & select.POLLERR:
                    rest = memoryview(b"")  # the child is gone; `follow` finds out why
                if descriptor == _CONTROL:
                    self._heed()
            self._watch()
        self._close(self._child.job)

    def follow(self) -> None:
        """Read what the child prints until it ends. Raises Overrun."""
        poll = select.poll()
        for descriptor in (*self._parts, _CONTROL):
            poll.register(descriptor, select.POLLIN)
        open_pipes = len(self._parts)
        watch_at = time.monotonic()
        while open_pipes:
            for descriptor, _ in poll.poll(_WATCH_MS):
                if descriptor == _CONTROL:
                    self._heed()
                elif not self._read(descriptor):
                    poll.unregister(descriptor)
                    open_pipes -= 1
            if time.monotonic() - watch_at >= _WATCH_MS / 1000 and open_pipes:
                self._watch()
                watch_at = time.monotonic()

    def report(self, status: int, usage: resource.struct_rusage) -> frames.Report:
        """What came of it. Raises Overrun where the child did not come to its end by itself."""
        output, logs = (b"".join(parts) for parts in self._parts.values())
        if os.WIFSIGNALED(status):
            raise Overrun(_signal_text(os.WTERMSIG(status)))
        if os.WEXITSTATUS(status) != _DONE:
            raise Overrun(
                f"the contract ended the engine's process with code {os.WEXITSTATUS(status)}{_tail(logs)}"
            )
        if not output and _SHORT_OF_MEMORY.search(logs):
            raise Overrun("the contract needs more memory than this machine has")
        cpu = max(usage.ru_utime + usage.ru_stime - self._base_time, 0.0)
        return frames.Report(cpu, usage.ru_maxrss * 1024, output, logs)

    def close(self) -> None:
        """Close what is still open of the pipes; their numbers may be in use again for the next child."""
        for descriptor in tuple(self._open):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._open.remove(descriptor)
        os.close(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Take what is in a pipe; False at its end."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return True
        self._parts[descriptor].append(data)
        self._sizes[descriptor] += len(data)
        if self._sizes[descriptor] > self._job.output:
            raise Overrun(f"the contract prints more than {self._job.output:,} bytes")
        return bool(data)

    def _heed(self) -> None:
        if self._channel.cancelled(self._number):
            raise Overrun("the run was cancelled")

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._beaten >= frames.BEAT_SECONDS:
            self._channel.send(frames.BEAT, self._number)
            self._beaten = now
        if self._job.wall and now - self._started > self._job.wall:
            raise Overrun(f"the contract was not done after {self._job.wall:g} s")
        used = self._time()
        if self._job.cpu and used is not None and used - self._base_time > self._job.cpu:
            raise Overrun(f"the contract needs more than {self._job.cpu:g} s of processor time")
        memory = self._memory() if self._job.memory else None
        if memory is not None and memory - self._base_memory > self._job.memory:
            raise Overrun(f"the contract needs more than {self._job.memory:,} bytes of memory")

    def _time(self) -> float | None:
        with contextlib.suppress(OSError):
            return time.clock_gettime(self._clock)
        return None

    def _memory(self) -> int | None:
        with contextlib.suppress(OSError, IndexError):
            return self._jail.resident_bytes(self._child.process)
        return None


def _end(process: int) -> tuple[int, resource.struct_rusage]:
    """Kill a child, unless it is on its way out already, and collect it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    return status, usage


def _signal_text(number: int) -> str:
    name = signal.Signals(number).name
    if number == signal.SIGSYS:
        return f"the contract made the engine ask the system for something that is denied ({name})"
    if number == signal.SIGXCPU:
        return "the contract needs more processor time than is granted"
    if number == signal.SIGKILL:
        return f"the contract's process was ended from outside ({name})"
    return f"the contract made the engine crash ({name})"


def _tail(logs: bytes) -> str:
    lines = logs.decode(errors="replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines else ""


def _load(kind: str, path: str) -> Engine:
    if kind == "library":
        try:
            return Library(path)
        except (OSError, AttributeError) as error:
            raise JailError(f"the contract engine {path} cannot be loaded: {error}") from error
    raise JailError(f"no such kind of engine: {kind}")


def _probe(worker: Worker, version: str) -> None:
    """Run one trivial contract and compare the engine's own word for its version with the package's."""
    job = frames.Job(
        0, _PROBE_SECONDS, 0, _CHUNK, bytes(64), b"Given nothing\nThen print the string 'ok'\n", b"{}", None
    )
    try:
        report = worker.run(0, job)
    except Overrun as overrun:
        raise JailError(f"a trial run failed in the sandbox: {overrun}") from overrun
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
        engine = _load(arguments[1], arguments[2])
        jail = Jail()
        engine.tune()
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
