# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lists of system calls that a contract's process may make: at any other the kernel kills it.

Killed, not refused: an engine that is refused something goes on to "false", which would be a verdict that depends
on the machine. Needs the package pyseccomp and the system's libseccomp.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

from planetmint.sandbox import system

LARGEST_MAPPING = 4 << 30
"""A single mapping beyond this ends a run on every machine; whether a smaller one fits is the watch's question.
Without it a request that exceeds the machine's memory would fail inside the engine, which would answer "false"."""

_PROT_EXEC = 4
_AT_EMPTY_PATH = 0x1000
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_COMMON = (
    "clock_gettime", "exit", "exit_group", "fstat", "futex", "getpid", "getrusage", "gettid", "gettimeofday",
    "lseek", "madvise", "munmap", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "time",
)  # fmt: skip
"""Calls without a condition. Those for the time are real system calls on machines without a fast clock only."""

_TO_START = (
    "access", "arch_prctl", "brk", "clock_getres", "close", "faccessat", "fcntl", "getcwd", "getegid", "geteuid",
    "getgid", "getrandom", "getuid", "ioctl", "mmap", "mprotect", "newfstatat", "poll", "ppoll",
    "pread64", "prlimit64", "read", "readlink", "readlinkat", "readv", "rseq", "sched_getaffinity",
    "set_robust_list", "set_tid_address", "sigaltstack", "sysinfo", "uname",
)  # fmt: skip
"""What a program needs besides to be loaded with its libraries and to look for its input."""


class SeccompMissing(Exception):
    """No list can be compiled; the message says what to install."""


def contract_filter(descriptors: int) -> system.Filter:
    """For a process that only runs the engine: memory, reading 0, writing 1 up to `descriptors`."""
    library = _library()
    rules, allow = _start(library)
    no_code = library.Arg(2, library.MASKED_EQ, _PROT_EXEC, 0)
    allow("brk", library.Arg(0, library.LE, system.current_break() + LARGEST_MAPPING))
    allow("mmap", library.Arg(1, library.LE, LARGEST_MAPPING), no_code)
    allow("mprotect", no_code)
    allow("newfstatat", library.Arg(3, library.MASKED_EQ, _AT_EMPTY_PATH, _AT_EMPTY_PATH))
    allow("read", library.Arg(0, library.EQ, 0))
    for descriptor in range(1, descriptors):
        allow("write", library.Arg(0, library.EQ, descriptor))
    return _compiled(rules)


def program_filter(program: int) -> system.Filter:
    """For a process that becomes the program at a descriptor, which closes as it does: it can execute once."""
    library = _library()
    rules, allow = _start(library)
    for name in _TO_START:
        if name != "mmap":
            allow(name)
    only_read = library.MASKED_EQ, _TO_WRITE, 0
    allow("open", library.Arg(1, *only_read))
    allow("openat", library.Arg(2, *only_read))
    allow("mmap", library.Arg(1, library.LE, LARGEST_MAPPING))
    for descriptor in (1, 2):
        allow("write", library.Arg(0, library.EQ, descriptor))
        allow("writev", library.Arg(0, library.EQ, descriptor))
    empty_path = library.Arg(4, library.MASKED_EQ, _AT_EMPTY_PATH, _AT_EMPTY_PATH)
    allow("execveat", library.Arg(0, library.EQ, program), empty_path)
    return _compiled(rules)


def call_number(name: str) -> int:
    """The number of a system call on this machine."""
    library = _library()
    return int(library.resolve_syscall(library.Arch.NATIVE, name))


def _library() -> Any:  # the package has no types
    try:
        import pyseccomp
    except ImportError:
        raise SeccompMissing('the package pyseccomp is missing: pip install "planetmint-node[zenroom]"') from None
    except RuntimeError:
        raise SeccompMissing("the library libseccomp.so.2 is missing: install it (Debian: libseccomp2)") from None
    return pyseccomp


def _start(library: Any) -> tuple[Any, Callable[..., None]]:
    rules = library.SyscallFilter(library.KILL_PROCESS)

    def allow(name: str, *conditions: object) -> None:
        with contextlib.suppress(OSError):  # not every machine has each call
            rules.add_rule(library.ALLOW, name, *conditions)

    for name in _COMMON:
        allow(name)
    allow("mremap", library.Arg(2, library.LE, LARGEST_MAPPING))
    return rules, allow


def _compiled(rules: Any) -> system.Filter:
    with open(os.memfd_create("seccomp"), "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return system.Filter(file.read())
