# SPDX-License-Identifier: AGPL-3.0-or-later
"""The walls around a contract, layer upon layer, and an account of which of them stand on this machine.

A worker enters `Jail.enter` once: no files, no network, no privileges. Every child that runs a contract adds
`Jail.enter_child`: no further processes, and a list of system calls beyond which the kernel kills it. Three
layers are indispensable and raise `JailError` where they are missing; the others depend on the machine.
"""

import contextlib
import os
import resource
import signal

from planetmint.sandbox import system
from planetmint.sandbox.layers import Layer

NOBODY = 65534
LARGEST_MAPPING = 4 << 30
"""A single mapping beyond this ends a run on every machine; whether a smaller one fits is the watch's question.
Without it a request that exceeds the machine's memory would fail inside the engine, which would answer "false"."""

_STACK_BYTES = 8 << 20
"""The same everywhere: what recursion it takes to crash an engine should not depend on the machine."""
_NICE = 10
_DESCRIPTORS = 64
_CHILD_DESCRIPTORS = 4
"""Of a child: its job, the output, the logs, and the word that it is done."""
_PROT_EXEC = 4
_AT_EMPTY_PATH = 0x1000

_PLAIN_CALLS = (
    "clock_gettime", "exit", "exit_group", "fstat", "futex", "getpid", "gettid", "gettimeofday", "lseek",
    "madvise", "munmap", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "time",
)  # fmt: skip
"""Calls without a condition. Those for the time are real system calls on machines without a fast clock only."""


class JailError(Exception):
    """A wall without which no contract is run is missing; the message says what to do."""


class Jail:
    """The walls of one worker.

    Attributes:
        layers: What stands, what does not, and why; complete after `enter`.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._filter = _compile_filter()
        self._processes = _open_processes()
        self._no_files: system.Landlock | None = None
        self._parent = os.getppid()

    def enter(self) -> None:
        """Lock the worker down. Needs everything that will ever be imported to be imported already."""
        _limit_worker()
        self._note(
            "memory and time", "watched every few milliseconds; core files, file sizes, descriptors limited"
        )
        self._prefer_for_killing()
        self._leave_namespaces()
        self._leave_files()
        self._leave_user()
        self._bind_to_parent()
        self._restrict_files()
        self._note("system calls", "killed at any call but those for memory and its pipes")

    def enter_child(self, parent: int) -> None:
        """Lock a child of the worker down; it can read 0 and write 1 to 3 afterwards, and nothing else."""
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # Where /proc hides processes (hidepid, systemd's ProtectProc), only so the worker sees the memory of this.
        system.prctl(system.PR_SET_DUMPABLE, 1)
        _limit(resource.RLIMIT_NPROC, 0)
        _limit(resource.RLIMIT_STACK, _STACK_BYTES)
        _limit(resource.RLIMIT_NOFILE, _CHILD_DESCRIPTORS)
        if self._no_files is not None:
            self._no_files.enforce()
        os.closerange(_CHILD_DESCRIPTORS, _DESCRIPTORS)
        self._filter.load()

    @staticmethod
    def step_back() -> None:
        """Leave the processor to the node where both want it."""
        os.nice(_NICE)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def resident_bytes(self, process: int) -> int:
        """Memory of a child. Raises OSError when it is gone."""
        file = os.open(f"{process}/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._processes)
        try:
            return int(os.read(file, 128).split()[1]) * resource.getpagesize()
        finally:
            os.close(file)

    def _note(self, name: str, detail: str, active: bool = True) -> None:
        self.layers.append(Layer(name, active, detail))

    def _prefer_for_killing(self) -> None:
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")
        except OSError as error:
            self._note("first to go when memory is short", str(error), active=False)
        else:
            self._note("first to go when memory is short", "before the node and the store")

    def _leave_namespaces(self) -> None:
        """Namespaces of its own, in a user namespace of its own where that takes no privilege."""
        wanted = system.CLONE_NEWNET | system.CLONE_NEWIPC | system.CLONE_NEWUTS | system.CLONE_NEWNS
        own_user = system.CLONE_NEWUSER if os.geteuid() else 0
        try:
            system.unshare(wanted | own_user)
        except OSError as error:
            detail = f"no namespaces of its own ({error.strerror})"
            self._note("network", detail, active=False)
            self._note("mounts", detail, active=False)
            return
        self._note("network", "a namespace without any interface that is up")

    def _leave_files(self) -> None:
        """An empty root directory, where the mount namespace is the worker's own."""
        if not self.layers[-1].active:
            return
        place = b"/tmp" if os.path.isdir("/tmp") else b"/"
        flags = system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC
        try:
            system.mount(b"none", b"/", None, system.MS_REC | system.MS_PRIVATE)
            system.mount(b"none", place, b"tmpfs", flags | system.MS_RDONLY, b"size=4k,mode=0755")
            os.chroot(place)
            os.chdir("/")
        except OSError as error:
            self._note("mounts", f"no root directory of its own ({error.strerror})", active=False)
        else:
            self._note("mounts", "an empty root directory that cannot be written")

    def _leave_user(self) -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            self._note("user", f"runs as {NOBODY} (nobody) without any group")
        else:
            system.drop_capabilities()
            self._note("user", "runs as the node's own user, without privileges", active=False)
        system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
        system.prctl(system.PR_SET_DUMPABLE, 0)

    def _bind_to_parent(self) -> None:
        """End with the node. After the change of the user, which would undo it."""
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:
            os._exit(1)

    def _restrict_files(self) -> None:
        try:
            rules = system.Landlock()
            rules.allow(self._processes, system.LANDLOCK_READ_FILE)
            rules.enforce()
            rules.close()
            self._no_files = system.Landlock()
        except OSError as error:
            self._note("files", f"the kernel has no Landlock for this process ({error.strerror})", active=False)
        else:
            self._note("files", f"Landlock {rules.version}: no file can be opened, no TCP port bound or connected")


def _limit_worker() -> None:
    for name, value in (("CORE", 0), ("FSIZE", 0), ("NOFILE", _DESCRIPTORS), ("MEMLOCK", 0), ("MSGQUEUE", 0)):
        _limit(getattr(resource, f"RLIMIT_{name}"), value)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _open_processes() -> int:
    try:
        processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(os.open("self/statm", os.O_RDONLY, dir_fd=processes))
    except OSError as error:
        raise JailError(
            f"/proc cannot be read ({error.strerror}): mount it, the memory of runs is watched there"
        ) from error
    return processes


def _compile_filter() -> system.Filter:
    try:
        import pyseccomp
    except ImportError:
        raise JailError('the package pyseccomp is missing: pip install "planetmint-node[zenroom]"') from None
    except RuntimeError:
        raise JailError("the library libseccomp.so.2 is missing: install the system package libseccomp2") from None
    rules = pyseccomp.SyscallFilter(pyseccomp.KILL_PROCESS)

    def allow(name: str, *conditions: object) -> None:
        rules.add_rule(pyseccomp.ALLOW, name, *conditions)

    below, masked, equal = pyseccomp.LE, pyseccomp.MASKED_EQ, pyseccomp.EQ
    no_code = pyseccomp.Arg(2, masked, _PROT_EXEC, 0)
    for name in _PLAIN_CALLS:
        with contextlib.suppress(OSError):  # not every machine has each
            allow(name)
    allow("brk", pyseccomp.Arg(0, below, system.current_break() + LARGEST_MAPPING))
    allow("mmap", pyseccomp.Arg(1, below, LARGEST_MAPPING), no_code)
    allow("mremap", pyseccomp.Arg(2, below, LARGEST_MAPPING))
    allow("mprotect", no_code)
    allow("newfstatat", pyseccomp.Arg(3, masked, _AT_EMPTY_PATH, _AT_EMPTY_PATH))
    allow("read", pyseccomp.Arg(0, equal, 0))
    for descriptor in range(1, _CHILD_DESCRIPTORS):
        allow("write", pyseccomp.Arg(0, equal, descriptor))
    with open(os.memfd_create("seccomp"), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return system.Filter(file.read())
