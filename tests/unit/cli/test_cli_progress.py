# SPDX-License-Identifier: AGPL-3.0-or-later
"""Long commands say how far they are: a bar in a terminal, lines elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from planetmint.cli import progress
from planetmint.cli.progress import Progress

BAR = """
from planetmint.cli.progress import Progress
with Progress("Backup", "blocks", 20) as bar:
    for done in range(21):
        bar.to(done)
"""


def test_in_a_terminal_there_is_a_bar_with_counts_and_the_time_that_is_left() -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", BAR],
        stderr=follower,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm"},
    ) as running:
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 4_096):
                shown += part
        except OSError:  # how a terminal ends
            pass
        assert running.wait(60) == 0
    os.close(leader)
    assert b"Backup" in shown
    assert b"20/20" in shown
    assert b"left:" in shown


def test_elsewhere_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("Verify", "blocks", 200) as shown:
        shown.to(1)
        now += progress.LINE_SECONDS
        shown.to(50)
        shown.to(51)
        now += progress.LINE_SECONDS
        shown.to(150, 300)
    assert capsys.readouterr().err.splitlines() == [
        "Verify: 50 of 200 blocks (25 %), about 30 s left",
        "Verify: 150 of 300 blocks (50 %), about 20 s left",
    ]


def test_without_a_total_only_what_is_done_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Progress("Restore", "bytes", None) as shown:
        now += progress.LINE_SECONDS
        shown.to(5)
    assert capsys.readouterr().err == "Restore: 5 bytes\n"
