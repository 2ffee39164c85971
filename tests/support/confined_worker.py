# SPDX-License-Identifier: AGPL-3.0-or-later
"""A contract worker on a poorer machine: `python -m tests.support.confined_worker HOW` and a worker's arguments.

`user` is an ordinary user, `container` is one whose system calls for namespaces, mounts and Landlock are refused
as container engines refuse them, `no-seccomp` has no pyseccomp, `no-libseccomp` lacks the library under it, and
`stuck` never says a word. `soft-limit` was started with little memory that it may have more of, `hard-limit` is a
user who may not, `strict-memory` a machine that promises no more than it has. `short-N` gives each contract N
megabytes more than its process has at first, and refuses further ones.
"""

import ctypes
import ctypes.util
import errno
import os
import resource
import sys
import time

USER = 12345
_LITTLE = 200 << 20
"""Bytes: enough for a worker, but not for a contract that fills memory."""
_REFUSED_IN_CONTAINERS = (
    "unshare", "mount", "umount2", "chroot", "landlock_create_ruleset", "landlock_add_rule",
    "landlock_restrict_self", "setns", "clone3",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    how, *rest = arguments
    if how == "no-seccomp":
        sys.modules["pyseccomp"] = None  # type: ignore[assignment]
    if how == "no-libseccomp":
        found = ctypes.util.find_library
        ctypes.util.find_library = lambda name: None if name == "seccomp" else found(name)
    from planetmint.sandbox import worker

    if how == "stuck":
        time.sleep(600)
    if how in ("user", "container", "hard-limit"):
        _become_user(rest[2])
    if how == "container":
        _refuse()
    if how == "soft-limit":
        resource.setrlimit(resource.RLIMIT_AS, (_LITTLE, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_DATA, (_LITTLE, resource.RLIM_INFINITY))
    if how == "hard-limit":
        resource.setrlimit(resource.RLIMIT_DATA, (_LITTLE, _LITTLE))
    if how == "strict-memory":
        _promise_little()
    if how.startswith("short-"):
        _refuse_memory(int(how.removeprefix("short-")) << 20)
    worker.main(rest)


def _promise_little() -> None:
    from planetmint.sandbox import jail

    jail._OVERCOMMIT = f"/dev/fd/{os.memfd_create('overcommit')}"
    with open(jail._OVERCOMMIT, "w") as file:
        file.write("2\n")


def _refuse_memory(more: int) -> None:
    """Requests for memory fail in its process beyond so many bytes more."""
    from planetmint.sandbox.jail import Jail

    enter = Jail.enter_child

    def entered(jail: Jail, parent: int) -> None:
        with open(os.open("self/statm", os.O_RDONLY, dir_fd=jail._processes)) as statm:
            most = int(statm.read().split()[0]) * resource.getpagesize() + more
        enter(jail, parent)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    Jail.enter_child = entered  # type: ignore[method-assign]


def _become_user(engine: str) -> None:
    """What the user may not be able to read, as in root's home directory, is loaded before."""
    import pyseccomp  # noqa: F401

    ctypes.CDLL(engine)
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)


def _refuse() -> None:
    import pyseccomp

    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in _REFUSED_IN_CONTAINERS:
        rules.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
    rules.load()


if __name__ == "__main__":
    main(sys.argv[1:])
