# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes inputs from a corpus by random changes and hands them to a target until time or count is over."""

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_INPUT = 64 * 1024
KEPT = Path(__file__).parents[1] / ".cache" / "fuzz"

Target = Callable[[bytes], bool]
"""Tries one input: True where it was accepted, False where it was refused as documented; raises otherwise."""

Maker = Callable[[random.Random], bytes]


class Broken(AssertionError):
    """An input for which the invariant does not hold."""

    def __init__(self, data: bytes, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}\ninput: {data[:2000]!r}")
        self.data = data


@dataclass
class Tally:
    """What a run did; `slowest` is in seconds."""

    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0

    @property
    def tried(self) -> int:
        return self.accepted + self.refused


@dataclass(frozen=True)
class Fuzzer:
    """A target and a maker of inputs for it."""

    name: str
    target: Target
    make: Maker

    def run(self, seed: int, *, seconds: float | None = None, count: int | None = None) -> Tally:
        """Try inputs until `seconds` have passed or `count` were tried.

        Raises:
            Broken: The invariant does not hold.
        """
        rng = random.Random(seed)
        tally = Tally()
        end = None if seconds is None else time.monotonic() + seconds
        while (count is None or tally.tried < count) and (end is None or time.monotonic() < end):
            data = self.make(rng)[:MAX_INPUT]
            begun = time.perf_counter()
            try:
                accepted = self.target(data)
            except Exception as error:
                raise Broken(data, error) from error
            tally.slowest = max(tally.slowest, time.perf_counter() - begun)
            tally.accepted += accepted
            tally.refused += not accepted
        return tally


def changed(rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A member of the corpus after a few changes; `words` are what the format is made of."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        place = rng.randint(0, len(data))
        end = min(len(data), place + rng.choice((0, 1, 1, 2, 4, 40)))
        kind = rng.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[place:end]
        elif kind == 2:
            data[place:end] = rng.choice(words)
        elif kind == 3:
            data[place:place] = data[place:end] * rng.choice((1, 2, 100))
        elif kind == 4:
            data[place:end] = rng.randbytes(rng.randint(0, 4))
        else:
            other = rng.choice(corpus)
            start = rng.randint(0, len(other))
            data[place:end] = other[start : start + rng.randint(0, 60)]
    return bytes(data)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(fuzzer: Fuzzer) -> int:
    """Run from the command line; the exit code is 1 where the invariant was broken."""
    parser = argparse.ArgumentParser(prog=f"python -m fuzz.{fuzzer.name}")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--count", type=int, help="so many inputs, however long it takes")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    seconds = options.seconds if options.count is None else None
    _say(
        f"{fuzzer.name}: seed {options.seed}, "
        + (f"{options.count} inputs" if options.count else f"{seconds:g} s")
    )
    try:
        tally = fuzzer.run(options.seed, seconds=seconds, count=options.count)
    except Broken as error:
        KEPT.mkdir(parents=True, exist_ok=True)
        path = KEPT / f"{fuzzer.name}-{hashlib.sha256(error.data).hexdigest()[:16]}"
        path.write_bytes(error.data)
        _say(f"broken; the input is in {path}\n{error}")
        return 1
    _say(f"{tally.tried} inputs, {tally.accepted} accepted, slowest {tally.slowest * 1000:.1f} ms")
    return 0
