# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine as a shared library, bound by ctypes: the function that prints, not the one that fills buffers.

`zencode_exec` prints its result to the standard output and everything else to the standard error, so there is no
buffer that a contract could make it write past. The library is loaded by its path; the package's own Python is not
imported.
"""

import ctypes
from collections.abc import Callable

from planetmint.sandbox import frames
from planetmint.sandbox.jail import Jail
from planetmint.sandbox.padding import give_room

_TOP_PAD, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -2, -1, -3
_POPULATE_READ, _POPULATE_WRITE = 22, 23
_PERTURB = -6
_BLANK = 255
"""Memory that is given out reads as zeros (see `connection`); the warmed block must stay zero when it is freed."""
_WARM_BYTES = 768 << 10
"""Heap that a fresh engine uses, about: touched ahead of the contract."""


class Library:
    """The engine's library in this process."""

    says_done = True

    def __init__(self, path: str) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.malloc.restype = ctypes.c_void_p
        self._libc.malloc.argtypes = (ctypes.c_size_t,)
        self._libc.free.argtypes = (ctypes.c_void_p,)
        self._libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._engine = engine = ctypes.CDLL(path)
        self._run: Callable[..., int] = engine.zencode_exec
        engine.zencode_exec.argtypes = (ctypes.c_char_p,) * 4
        self._path = path
        self._ranges: list[tuple[int, int, bool]] = []

    def tune(self) -> bool:
        """As `Engine.tune`. Lets the heap grow in large steps and never shrink: a run's process ends with it."""
        self._libc.mallopt(_TOP_PAD, 4 * _WARM_BYTES)
        self._libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
        self._libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
        self._use_up_holes()
        self._ranges = _mapped(self._path)
        ranges = [(start, size) for start, size, _ in _mapped(self._path, stack=False)]
        return give_room(self._engine, self._libc, ranges)

    def warm(self) -> None:
        """Take page faults of a run in advance: those that nearly every run has, so that no work is added."""
        for start, size, writable in self._ranges:
            self._libc.madvise(start, size, _POPULATE_WRITE if writable else _POPULATE_READ)
        self._libc.mallopt(_PERTURB, 0)
        block = self._libc.malloc(_WARM_BYTES)
        ctypes.memset(block, 0, _WARM_BYTES)
        self._libc.free(block)
        self._libc.mallopt(_PERTURB, _BLANK)

    def _use_up_holes(self) -> None:
        """Take every free place of the heap below its end, for ever.

        An engine that found them would touch pages all over the heap, each of which is a page fault in a fork; and
        where it found them would depend on what this process did before.
        """
        large = self._libc.malloc(_WARM_BYTES)
        self._libc.free(large)
        for exponent in reversed(range(4, 17)):
            while (place := self._libc.malloc(1 << exponent)) < large:
                pass
            self._libc.free(place)

    def execute(self, job: frames.Job, jail: Jail) -> None:
        """Run one contract; the standard output and error have everything when this returns."""
        self._run(job.script, configuration(job.seed), job.keys, job.data)
        self._libc.fflush(None)


def configuration(seed: bytes) -> bytes:
    """The engine's configuration: the seed of its random numbers, 64 bytes, and nothing else."""
    return b"rngseed=hex:" + seed.hex().encode()


def _mapped(path: str, stack: bool = True) -> list[tuple[int, int, bool]]:
    """What nearly every page of is touched by a run: the library and the stack. Start, bytes, writable."""
    found = []
    names = (path, "[stack]") if stack else (path,)
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, rights, *_ = line.split()
            if "r" in rights and line.rstrip().endswith(names):
                start, end = (int(part, 16) for part in span.split("-"))
                found.append((start, end - start, "w" in rights))
    return found
