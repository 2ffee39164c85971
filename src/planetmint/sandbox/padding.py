# SPDX-License-Identifier: AGPL-3.0-or-later
"""Room behind every buffer of the engine, filled with zeros, because the engine reads beyond them.

A key that is too short is read to the length that it should have: `Given I have a 'ecdh public key'` takes one of
one byte, or refuses it, by what happens to lie behind it in memory. That differs from process to process, and the
verdicts of two validators would differ with it. So the engine's library gets another `malloc`, which asks the
system's for more than it was asked for; that memory reads as zeros (see `connection`).
"""

import ctypes
import mmap
import platform
import struct
from collections.abc import Iterable

ROOM = 256
"""Bytes: the longest that the engine reads blindly is a point of 192 bytes. Scenario `qp`, whose keys have
thousands, is refused unread."""

_MANAGER = "zen_memory_manager"
_MANAGER_BYTES = 110
"""The function that gets memory for the engine's own tables and strings, which it knows the size of: no room for
them, they are ten thousands. Were it longer or shorter, a run would only be slower."""

_PAGE = mmap.PAGESIZE
_WORD = 8


def give_room(engine: ctypes.CDLL, libc: ctypes.CDLL, ranges: Iterable[tuple[int, int]]) -> bool:
    """Make the engine's `malloc` give `ROOM` more to whoever calls it but its manager of tables.

    Args:
        engine: Its library, all of whose functions are bound.
        libc: The system's.
        ranges: Where the library lies in memory: start and bytes.

    Returns:
        Whether that was possible: not on other processors than x86-64.
    """
    if platform.machine() != "x86_64":
        return False
    malloc = _address(libc.malloc)
    code = _code(malloc, _address(getattr(engine, _MANAGER)))
    page = mmap.mmap(-1, _PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    page[: len(code)] = code
    ours = ctypes.addressof(ctypes.c_char.from_buffer(page))
    _protect(libc, ours, mmap.PROT_READ | mmap.PROT_EXEC)
    _kept.append(page)
    places = [place for start, size in ranges for place in _words(start, size, malloc)]
    for place in places:
        _protect(libc, place, mmap.PROT_READ | mmap.PROT_WRITE)
        ctypes.c_uint64.from_address(place).value = ours
    return bool(places)


_kept: list[mmap.mmap] = []
"""The code must stay where it is for as long as the library does."""


def _code(malloc: int, manager: int) -> bytes:
    """Machine code: unless the caller is the manager, add to the first argument; then go on as `malloc`."""
    return b"".join(
        (
            b"\x48\x8b\x04\x24",  # mov rax, [rsp]
            b"\x48\xb9" + struct.pack("<Q", manager),  # mov rcx, manager
            b"\x48\x29\xc8",  # sub rax, rcx
            b"\x48\x3d" + struct.pack("<i", _MANAGER_BYTES),  # cmp rax, bytes
            b"\x72\x07",  # jb over the addition
            b"\x48\x81\xc7" + struct.pack("<i", ROOM),  # add rdi, room
            b"\x48\xb8" + struct.pack("<Q", malloc),  # mov rax, malloc
            b"\xff\xe0",  # jmp rax
        )
    )


def _address(function: object) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert address is not None
    return address


def _words(start: int, size: int, value: int) -> list[int]:
    """Where in a range a word has a value."""
    words = struct.unpack(f"<{size // _WORD}Q", ctypes.string_at(start, size // _WORD * _WORD))
    return [start + index * _WORD for index, word in enumerate(words) if word == value]


def _protect(libc: ctypes.CDLL, place: int, protection: int) -> None:
    """Set what may be done with the page of an address."""
    start = ctypes.c_void_p(place & ~(_PAGE - 1))
    if libc.mprotect(start, ctypes.c_size_t(_PAGE), protection) != 0:
        raise OSError("the memory of the engine's library cannot be changed")
