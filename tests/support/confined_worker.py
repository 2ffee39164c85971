# SPDX-License-Identifier: AGPL-3.0-or-later
"""A contract worker on a poorer machine: `python -m tests.support.confined_worker HOW` and a worker's arguments.

`user` is an ordinary user, `container` is one whose system calls for namespaces, mounts and Landlock are refused
as container engines refuse them, `no-seccomp` has no pyseccomp, `no-libseccomp` lacks the library under it, and
`stuck` never says a word.
"""

import ctypes
import ctypes.util
import errno
import os
import sys
import time

USER = 12345
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
    if how in ("user", "container"):
        _become_user(rest[2])
    if how == "container":
        _refuse()
    worker.main(rest)


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
