# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a pool and a worker say to each other comes through unchanged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planetmint.sandbox import frames


@given(
    cpu=st.floats(0, 1e6),
    memory=st.integers(0, 1 << 40),
    seed=st.binary(min_size=64, max_size=64),
    texts=st.tuples(st.binary(), st.binary(), st.none() | st.binary()),
)
def test_job_comes_through_unchanged(
    cpu: float, memory: int, seed: bytes, texts: tuple[bytes, bytes, bytes | None]
) -> None:
    job = frames.Job(cpu, 2 * cpu, memory, 7, seed, *texts)
    assert frames.decode_job(frames.encode_job(job)) == job


@given(cpu=st.floats(0, 1e6), memory=st.integers(0, 1 << 40), output=st.binary(), logs=st.binary())
def test_report_comes_through_unchanged(cpu: float, memory: int, output: bytes, logs: bytes) -> None:
    report = frames.Report(cpu, memory, output, logs)
    assert frames.decode_report(frames.encode_report(report)) == report


@pytest.mark.parametrize("keys", [None, b"", b"null"])
def test_keys_that_are_missing_differ_from_empty_ones(keys: bytes | None) -> None:
    job = frames.Job(0, 0, 0, 0, bytes(64), b"", b"", keys)
    assert frames.decode_job(frames.encode_job(job)).keys == keys


def test_frame_names_its_kind_number_and_size() -> None:
    assert frames.frame(frames.JOB, 258, b"abc") == b"\x01\x02\x01\0\0\0\0\0\0\x03\0\0\0abc"
