# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make everything that the tests need besides Python: `python -m tests.setup`, called by `make test`.

Programs of other languages come from Debian's packages where this user may install them; drivers and the published
packages get environments of their own under .cache/. What is there already is left as it is.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = {
    "mvn": "maven",
    "javac": "default-jdk-headless",
    "node": "nodejs",
    "npm": "npm",
    "chromium": "chromium",
    "tarantool": "tarantool",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "gcc": "gcc libc6-dev",
    "curl": "curl",
    "systemd-analyze": "systemd",
}
"""Programs, and the Debian packages that bring them."""


def install_programs() -> str:
    """Install what is missing, or say what to install."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if not missing:
        return "all there"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["bash", str(ROOT / ".ci" / "packages")], check=True, stdin=subprocess.DEVNULL)
        return f"installed {', '.join(missing)}"
    packages = " ".join(NEEDED[program] for program in missing)
    raise SystemExit(
        f"These programs are missing: {', '.join(missing)}. Install them (Debian: apt-get install {packages}), or "
        "run the tests that need Python only: make test-unit"
    )


def engine() -> str:
    """Build the consensus engine, with a Go toolchain of its own where there is none."""
    done = _made(["make", "engine"])
    if done.returncode != 0:
        raise SystemExit(f"make engine failed:\n{done.stdout}\n{done.stderr}")
    return "ready"


def drivers() -> str:
    """Make the environments of the published drivers."""
    _run("-m", "tests.compat.environments")
    return "ready"


def oracles() -> str:
    """Make the environments of the published packages that the differential test asks."""
    _run("-m", "tests.differential.environments")
    return "ready"


def protocol_suite() -> str:
    """Make the environment of the WebSocket protocol suite."""
    _run("-c", "from tests.functional.streams_conformance import suite; suite()")
    return "ready"


def deployment_tools() -> str:
    """Make the environment of the programs that check what is for deployment."""
    _run("-m", "tests.support.deploy_tools")
    return "ready"


def bare_debian() -> str:
    """Make the root file system in which the installation script is tried, where this user may."""
    if os.geteuid() != 0:
        return "left out: it needs root"
    _run("-c", "from tests.support.bare_root import bare_tar; bare_tar()")
    return "ready"


def _run(*arguments: str) -> None:
    done = _made([sys.executable, *arguments])
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")


def _made(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _timed(name: str, work: Callable[[], str]) -> None:
    began = time.monotonic()
    print(f"{name}: {work()} ({time.monotonic() - began:.0f} s)", flush=True)


def main() -> None:
    """Programs first, then the environments side by side."""
    print("Making what the tests need; the first time this takes a few minutes.", flush=True)
    _timed("programs", install_programs)
    with ThreadPoolExecutor(2) as pool:
        jobs = {
            "engine": engine,
            "drivers": drivers,
            "published packages": oracles,
            "protocol suite": protocol_suite,
            "deployment tools": deployment_tools,
            "bare Debian": bare_debian,
        }
        for under_way in [pool.submit(_timed, name, work) for name, work in jobs.items()]:
            under_way.result()


if __name__ == "__main__":
    main()
