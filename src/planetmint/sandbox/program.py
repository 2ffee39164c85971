# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine as a program of its own: `zencode-exec`, started once per contract, in the same jail.

It reads six lines from its standard input: the configuration as it is, then script, keys, data and two more texts
in base64, each empty where there is none. The result comes on the standard output, everything else on the standard
error. It gives up where its input is not there yet when it starts, so the input is a file in memory.
"""

import base64
import ctypes
import os
from typing import NoReturn

from planetmint.sandbox import frames
from planetmint.sandbox.jail import PROGRAM, Jail
from planetmint.sandbox.seccomp import call_number
from planetmint.sandbox.zenroom import configuration

BLANK_MEMORY = b"GLIBC_TUNABLES"
_AT_EMPTY_PATH = 0x1000


class Program:
    """A configured `zencode-exec`."""

    says_done = False
    """Its end is the end of the run."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._number = ctypes.c_long(call_number("execveat"))
        environment = [name + b"=" + os.environb[name] for name in (BLANK_MEMORY,) if name in os.environb]
        self._arguments = (ctypes.c_char_p * 2)(os.fsencode(path), None)
        self._environment = (ctypes.c_char_p * (len(environment) + 1))(*environment, None)

    def tune(self) -> bool:
        """Nothing of this process is left in the program's."""
        return False

    def warm(self) -> None:
        """Nothing of this process is left in the program's."""

    def execute(self, job: frames.Job, jail: Jail) -> NoReturn:
        """Become the program, with the job on its standard input and one call to execute anything."""
        lines = (configuration(job.seed), *map(_encoded, (job.script, job.keys, job.data, None, None)))
        text = os.memfd_create("job")
        with open(text, "wb", closefd=False) as file:
            file.write(b"".join(line + b"\n" for line in lines))
        os.lseek(text, 0, os.SEEK_SET)
        os.dup2(text, 0)
        os.close(text)
        jail.seal()
        self._libc.syscall(self._number, PROGRAM, b"", self._arguments, self._environment, _AT_EMPTY_PATH)
        raise OSError(ctypes.get_errno(), f"{self._path}: {os.strerror(ctypes.get_errno())}")


def _encoded(text: bytes | None) -> bytes:
    return b"" if text is None else base64.b64encode(text)
