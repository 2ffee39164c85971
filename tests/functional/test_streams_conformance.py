# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stream port against the protocol suite for WebSocket servers, in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_case_of_the_protocol_suite_fails() -> None:
    command = [sys.executable, "-m", "tests.functional.streams_conformance"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
