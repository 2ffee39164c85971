# SPDX-License-Identifier: AGPL-3.0-or-later
"""The messages of a run: no lack of memory goes unnoticed, and no amount of them costs much (transactions 6: what
a machine lacks is no verdict)."""

import time

import pytest

from planetmint.sandbox.logs import KEPT_BYTES, Logs

MISSING = [
    "Could not allocate OCTET",
    "Could not allocate memory during decription",
    "Cuold not allocate public key",
    "Could not create OCTET",
    "Could not create BIG",
    "could not create BIG",
    "Could not create ECP point",
    "Could not create octet from BIG",
    "Error allocating new ecp2 in ecp2_new",
    "failed to allocate space for the iv",
    "Malloc out of memory, requested 64 B",
    "Memory allocation error at initalization",
    "memory allocation error: block too big",
    "zen_init: random generator allocation failed",
    "zen_init: Lua newstate creation failed",
    "Lua initialisation failed.",
    "Initialisation of lua scripts failed",
    "cannot allocate hash",
    "not enough memory",
    "NOT ENOUGH MEMORY",
    "Octet out of memory: o_new",
]
"""Texts in the library of engine 3.16.1 that stand where a request for memory failed, and one in other letters."""


def logs_of(*pieces: bytes) -> Logs:
    logs = Logs()
    for piece in pieces:
        logs.add(piece)
    return logs


class TestLackOfMemory:
    @pytest.mark.parametrize("text", MISSING)
    @pytest.mark.parametrize("mark", ["[!]  ", '"[!]  ', "[W]  [!] ", '[W]  [!] [string "zencode_hash"]:44: '])
    def test_complaint_behind_the_engines_mark_is_noticed(self, mark: str, text: str) -> None:
        assert logs_of(f"[W]  Given nothing\n{mark}{text}\n .   Memory used: 1 KB\n".encode()).short_of_memory

    def test_complaint_is_noticed_wherever_the_pieces_end(self) -> None:
        text = b"[W]  x\n[!]  Could not create OCTET\n"
        for place in range(len(text)):
            assert logs_of(text[:place], text[place:]).short_of_memory
        assert logs_of(*(text[place : place + 1] for place in range(len(text)))).short_of_memory

    def test_complaint_in_what_is_left_out_is_noticed(self) -> None:
        much = b"x" * 99 + b"\n"
        logs = logs_of(*[much * 1000] * 5, b"[!]  Could not create BIG\n", *[much * 1000] * 5)
        assert b"BIG" not in logs.text()
        assert logs.short_of_memory

    @pytest.mark.parametrize(
        "text",
        [
            b'    a = "[!] not enough memory",\n',
            b"[W]  When I write string 'not enough memory' in 'a'\n[!]  ERROR:",
            b"[W]  When I fly [!] not enough memory\n",
            b" .   Memory used: 603 KB\n .   Octet memory left allocated: 20 B\n",
            b"not enough memory\n",
            b"[!]  Execution aborted\nnot enough memory\n",
            b"[W]  [!] Verification fail: elements are not equal: a == b\n",
            b"[!]  Cannot create octet, size less than zero\n",
        ],
    )
    def test_words_that_the_engine_has_not_marked_are_none_of_its_complaints(self, text: bytes) -> None:
        assert not logs_of(text).short_of_memory


class TestAmounts:
    def test_messages_within_the_bound_are_kept_as_they_are(self) -> None:
        text = bytes(range(256)) * (KEPT_BYTES // 128)
        assert len(text) == 2 * KEPT_BYTES
        assert logs_of(text).text() == text
        assert logs_of(*(text[start : start + 1000] for start in range(0, len(text), 1000))).text() == text

    @pytest.mark.parametrize("size", [1000, 70_000, 1 << 20])
    def test_beginning_and_end_of_more_are_kept_the_same_whatever_the_pieces(self, size: int) -> None:
        text = b"".join(b"%09d\n" % number for number in range(200_000))
        kept = logs_of(*(text[start : start + size] for start in range(0, len(text), size))).text()
        gap = f"\n... {len(text) - 2 * KEPT_BYTES:,} bytes are left out here ...\n".encode()
        assert kept == text[:KEPT_BYTES] + gap + text[-KEPT_BYTES:]

    @pytest.mark.parametrize(
        "text",
        [
            b"[!]" * 33_000,
            b"[!] alloc" * 10_000,
            b"[W]" + b" " * 100_000,
            b"[W]  [" * 16_000 + b"allocation",
            b"allocation" + b"\n[!]" * 25_000,
            b"\n" * 100_000,
            b"allocation\n[W]   [!" * 5_000,
        ],
    )
    def test_time_grows_with_the_amount_not_with_its_square(self, text: bytes) -> None:
        def seconds(length: int) -> float:
            begun = time.process_time()
            for _ in range(10):
                logs_of(*(text[start : start + 65_536] for start in range(0, length, 65_536)))
            return time.process_time() - begun

        seconds(1000)
        assert seconds(len(text)) < 80 * max(seconds(len(text) // 10), 0.001)  # 100 times, were it the square
