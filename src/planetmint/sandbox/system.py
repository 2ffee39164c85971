# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calls of Linux that Python 3.11 has no name for, by ctypes; each raises OSError as `os` does."""

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 1 << 14, 1 << 18

_SYS_LANDLOCK_CREATE_RULESET = 444
_SYS_LANDLOCK_ADD_RULE = 445
_SYS_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_VERSION = 1
_LANDLOCK_PATH_BENEATH = 1
_CAPABILITY_VERSION_3 = 0x20080522

LANDLOCK_EXECUTE = 1 << 0
LANDLOCK_READ_FILE = 1 << 2
_ACCESS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many of the access rights to files each version knows; each adds to the one before."""


def prctl(option: int, argument: int | ctypes.Array[ctypes.c_char] = 0, pointer: object = 0) -> None:
    # The four arguments after the option are longs; a plain int of Python would be passed as a C int.
    first = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
    second = ctypes.c_ulong(pointer) if isinstance(pointer, int) else pointer
    _checked(_libc.prctl(option, first, second, ctypes.c_ulong(0), ctypes.c_ulong(0)))


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes | None = None) -> None:
    _checked(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options))


def drop_capabilities() -> None:
    """Give up every capability, in the user namespace of this process too."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), 8)
    _checked(_libc.capset(header, ctypes.create_string_buffer(24)))


def current_break() -> int:
    """Where the heap ends now."""
    _libc.sbrk.restype = ctypes.c_void_p
    return int(_libc.sbrk(0))


class Filter:
    """A compiled seccomp program, loaded by as many processes as like."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        # struct sock_fprog: a count of 8-byte instructions, padding, a pointer.
        head = struct.pack("@HxxxxxxP", len(program) // 8, ctypes.addressof(self._code))
        self._head = ctypes.create_string_buffer(head, len(head))

    def load(self) -> None:
        """For this process and its children, for ever."""
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self._head)


def landlock_version() -> int:
    """The kernel's version of Landlock. Raises OSError where it has none."""
    return _checked(_libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION))


class Landlock:
    """Rules on files, TCP, signals and abstract sockets: everything is denied but what is allowed here."""

    def __init__(self) -> None:
        version = landlock_version()
        files = (1 << _ACCESS_OF_ABI.get(version, 16)) - 1
        attributes = struct.pack("<QQQ", files, 3, 3)
        size = 8 if version < 4 else 16 if version < 6 else 24
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        self._ruleset = _checked(
            _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, buffer, ctypes.c_size_t(size), ctypes.c_uint(0))
        )
        self.version = version

    def allow(self, beneath: int, access: int) -> None:
        """Allow `access` to a file, or to everything below a directory, given by its descriptor."""
        rule = ctypes.create_string_buffer(struct.pack("<Qi", access, beneath), 12)
        number = _libc.syscall(
            _SYS_LANDLOCK_ADD_RULE, self._ruleset, _LANDLOCK_PATH_BENEATH, rule, ctypes.c_uint(0)
        )
        _checked(number)

    def enforce(self) -> None:
        """For this process and its children, for ever. Needs no_new_privs."""
        _checked(_libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, self._ruleset, ctypes.c_uint(0)))

    def close(self) -> None:
        os.close(self._ruleset)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
