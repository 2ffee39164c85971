# SPDX-License-Identifier: AGPL-3.0-or-later
"""The published drivers: how each one's program is started, and the steps that it must get through."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.compat import environments

PROGRAMS = Path(__file__).resolve().parent / "programs"
PROGRAM_TIMEOUT = 180

# What the issue demands of every driver; the sets differ only by what a driver does not offer.
_COMMON = [
    "stream_opened",
    "create_async",
    "create_sync",
    "create_commit",
    "retrieve",
    "divisible_transfer",
    "merge_of_outputs",
    "threshold_owners",
    "several_signers",
    "delegated_signing",
    "double_spend",
    "duplicate",
    "tampered",
    "not_found",
    "outputs",
    "transactions_by_asset",
    "blocks",
    "asset_search",
    "metadata_search",
    "event_stream",
]
_PYTHON = ["roots", *_COMMON]
_VERSION_3 = ["compose", "decompose", "create_from_decomposed"]
_JAVA = [
    "connected",
    "create_async",
    "create_with_callback",
    "retrieve",
    "divisible_transfer",
    "threshold_owners",
    "several_signers",
    "double_spend",
    "duplicate",
    "tampered",
    "not_found",
    "outputs",
    "transactions_by_asset",
    "blocks",
    "asset_search",
    "metadata_search",
    "validators",
    "event_stream",
]


@dataclass(frozen=True)
class DriverProgram:
    """One driver: its environment, the command that runs its program, and the steps to expect in order."""

    environment: environments.Environment
    command: Callable[[], list[str]]
    steps: list[str]
    variables: Callable[[], Mapping[str, str]] = field(default=dict)


def _python(environment: environments.PythonEnvironment, program: str, steps: list[str]) -> DriverProgram:
    return DriverProgram(environment, lambda: [str(environment.python), str(PROGRAMS / program)], steps)


DRIVERS: Mapping[str, DriverProgram] = {
    "bigchaindb-driver-0.6.2": _python(environments.BIGCHAINDB_062, "bigchaindb_driver_0_6_2.py", _PYTHON),
    "planetmint-driver-0.9.4": _python(environments.PLANETMINT_094, "planetmint_driver_0_9_4.py", _PYTHON),
    "planetmint-driver-0.11.1": _python(environments.PLANETMINT_0111, "planetmint_driver_0_11_1.py", _PYTHON),
    "planetmint-driver-0.18.5": _python(
        environments.PLANETMINT_0185, "planetmint_driver_0_18_5.py", [*_PYTHON, *_VERSION_3]
    ),
    "js-bigchaindb-driver-4.3.0": DriverProgram(
        environments.JAVASCRIPT_430,
        lambda: ["node", str(PROGRAMS / "node" / "story.js")],
        _COMMON,
        lambda: {"NODE_PATH": str(environments.JAVASCRIPT_430.modules)},
    ),
    "java-bigchaindb-driver-1.2": DriverProgram(
        environments.JAVA_12,
        lambda: ["java", "-Dfile.encoding=UTF-8", "-cp", environments.JAVA_12.classpath, "Story"],
        _JAVA,
    ),
}


@dataclass(frozen=True)
class ProgramRun:
    """How a program went: its step lines by name, in order, and everything else it printed."""

    steps: Mapping[str, Mapping[str, object]]
    returncode: int
    output: str


def run_program(driver: DriverProgram, url: str) -> ProgramRun:
    """Prepare the driver's environment and run its program against the node at `url`."""
    driver.environment.prepare()
    done = subprocess.run(
        [*driver.command(), url],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **driver.variables()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"driver"')]
    output = f"--- output ---\n{done.stdout}\n--- errors ---\n{done.stderr}"
    return ProgramRun({line["step"]: line for line in lines}, done.returncode, output)
