# SPDX-License-Identifier: AGPL-3.0-or-later
"""The walls around a contract, layer upon layer, and an account of which of them stand on this machine.

A worker enters `Jail.enter` once: no files, no network, no privileges. Every child that runs a contract adds
`Jail.enter_child`: no further processes, and a list of system calls beyond which the kernel kills it. Three
layers are indispensable and raise `JailError` where they are missing; the others depend on the machine.
"""

import os
import resource
import signal

from planetmint.sandbox import seccomp, system
from planetmint.sandbox.layers import Layer

NOBODY = 65534
_STACK_BYTES = 8 << 20
"""The same everywhere: what recursion it takes to crash an engine should not depend on the machine."""
_NICE = 2
"""Of a worker, against the node: it watches, and must not wait for long."""
_NICER = 3
"""Of a child, against its worker."""
_OVERCOMMIT = "/proc/sys/vm/overcommit_memory"
_NEVER_OVERCOMMIT = "2"
_DESCRIPTORS = 64
_LARGEST_JOB = 64 << 20
"""Bytes of the file in memory from which a program reads its contract."""
_CHILD_DESCRIPTORS = 4
"""Of a child: its job, the output, the logs, and the word that it is done."""
PROGRAM = 15
"""Descriptor of the program that a child becomes; all later ones are lower, so it is never given out again."""

_LIBRARY_PLACES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")


class JailError(Exception):
    """A wall without which no contract is run is missing; the message says what to do."""


class Jail:
    """The walls of one worker. A program started for each contract can read what programs need to start.

    Attributes:
        layers: What stands, what does not, and why; complete after `enter`.
    """

    def __init__(self, program: str | None = None) -> None:
        self.layers: list[Layer] = []
        self._program = program
        try:
            compiled = seccomp.program_filter(PROGRAM) if program else seccomp.contract_filter(_CHILD_DESCRIPTORS)
        except seccomp.SeccompMissing as error:
            raise JailError(str(error)) from error
        self._filter = compiled
        self._program_file = _open_program(program) if program else -1
        self._processes = _open_processes()
        self._no_files: system.Landlock | None = None
        self._parent = os.getppid()

    def enter(self) -> None:
        """Lock the worker down. Needs everything that will ever be imported to be imported already."""
        os.nice(_NICE)
        _lift_memory_limits()
        _limit_worker(_LARGEST_JOB if self._program else 0)
        self._note(
            "limits", "memory and time watched every few milliseconds; core files, file sizes, descriptors limited"
        )
        self._ask_for_promised_memory()
        self._prefer_for_killing()
        self._leave_namespaces()
        self._leave_files()
        self._leave_user()
        self._bind_to_parent()
        self._restrict_files()
        what = "those that start a program and read" if self._program else "those for memory and its pipes"
        self._note("system calls", f"killed at any call but {what}")

    def enter_child(self, parent: int) -> None:
        """Lock a child of the worker down but for `seal`; after that it can read 0 and write 1 to 3, no more."""
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # Where /proc hides processes (hidepid, systemd's ProtectProc), only so the worker sees the memory of this.
        system.prctl(system.PR_SET_DUMPABLE, 1)
        _limit(resource.RLIMIT_NPROC, 0)
        _limit(resource.RLIMIT_STACK, _STACK_BYTES)
        if self._no_files is not None:
            self._no_files.enforce()
        if self._program:
            os.dup2(self._program_file, PROGRAM, inheritable=False)
        os.closerange(_CHILD_DESCRIPTORS, PROGRAM)
        os.closerange(PROGRAM + bool(self._program), _DESCRIPTORS)

    def seal(self) -> None:
        """The last wall of a child."""
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_NOFILE, PROGRAM if self._program else _CHILD_DESCRIPTORS)
        self._filter.load()

    @staticmethod
    def step_back() -> None:
        """Leave the processor to the node where both want it."""
        os.nice(_NICER)
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

    def note_room(self, given: bool) -> None:
        """Tell whether the engine's buffers have room behind them, before `enter`."""
        detail = "what the engine reads beyond its buffers is zero"
        if not given:
            detail = "what the engine reads beyond its buffers is not told: contracts with broken keys may differ"
        self._note("room behind buffers", detail, given)

    def resident_bytes(self, process: int) -> int:
        """Memory of a child. Raises OSError when it is gone."""
        file = os.open(f"{process}/statm", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._processes)
        try:
            return int(os.read(file, 128).split()[1]) * resource.getpagesize()
        finally:
            os.close(file)

    def _note(self, name: str, detail: str, active: bool = True) -> None:
        self.layers.append(Layer(name, active, detail))

    def _ask_for_promised_memory(self) -> None:
        """Whether memory is given for the asking, as an engine needs it that takes a refusal for a verdict."""
        try:
            with open(_OVERCOMMIT) as file:
                refused = file.read().strip() == _NEVER_OVERCOMMIT
        except OSError as error:
            self._note("memory requests", f"{_OVERCOMMIT} cannot be read ({error.strerror})", active=False)
            return
        if refused:
            detail = "the system refuses memory before it is full, which only the engine's messages tell of"
            self._note("memory requests", detail, active=False)
        else:
            self._note("memory requests", "granted without a limit of the process; what is used is watched")

    def _prefer_for_killing(self) -> None:
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")
        except OSError as error:
            self._note("memory shortage", str(error), active=False)
        else:
            self._note("memory shortage", "the first to be ended, before the node and the store")

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
        if self._program:
            self._note("mounts", "the program needs the libraries of this machine", active=False)
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
            if self._program:
                _allow_program(rules, self._program)
            else:
                self._no_files = system.Landlock()
            rules.enforce()
            rules.close()
        except OSError as error:
            self._note("files", f"the kernel has no Landlock for this process ({error.strerror})", active=False)
        else:
            what = "only libraries can be opened" if self._program else "no file can be opened"
            self._note("files", f"Landlock {rules.version}: {what}, no TCP port bound or connected")


def _lift_memory_limits() -> None:
    """Let no request for memory fail: the engine would go on to "false", a verdict of this machine alone.

    Raises:
        JailError: There are limits, and this process must not lift them.
    """
    for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        try:
            resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError) as error:
            most = resource.getrlimit(which)[1]
            raise JailError(
                f"a process of this user may have no more than {most:,} bytes of memory, beyond which contracts "
                "would be judged wrongly: start the node without such a limit (ulimit -v unlimited -d unlimited; "
                "systemd: LimitAS=infinity and LimitDATA=infinity, while MemoryMax= does no harm)"
            ) from error


def _limit_worker(file_bytes: int) -> None:
    limits = (("CORE", 0), ("FSIZE", file_bytes), ("NOFILE", _DESCRIPTORS), ("MEMLOCK", 0), ("MSGQUEUE", 0))
    for name, value in limits:
        _limit(getattr(resource, f"RLIMIT_{name}"), value)


def _allow_program(rules: system.Landlock, program: str) -> None:
    """A program, the libraries beside it and those of the system."""
    for place in (program, os.path.dirname(program), *_LIBRARY_PLACES):
        try:
            descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # not every machine has each
        rules.allow(descriptor, system.LANDLOCK_READ_FILE | system.LANDLOCK_EXECUTE)
        os.close(descriptor)


def _limit(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _open_program(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise JailError(f"the contract program {path} cannot be opened: {error.strerror}") from error


def _open_processes() -> int:
    try:
        processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(os.open("self/statm", os.O_RDONLY, dir_fd=processes))
    except OSError as error:
        raise JailError(
            f"/proc cannot be read ({error.strerror}): mount it, the memory of runs is watched there"
        ) from error
    return processes
