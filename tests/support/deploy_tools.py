# SPDX-License-Identifier: AGPL-3.0-or-later
"""Programs that check what is for deployment, in an environment of their own under .cache/.

`python -m tests.support.deploy_tools` makes it where it is not there. podman-compose asks the container engine for
its version before it does anything, so there is a `podman` that answers that, and nothing else.
"""

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache" / "deploy-tools"
REQUIREMENTS = Path(__file__).with_name("deploy-tools.txt")

_PODMAN = '#!/bin/sh\n[ "$1" = --version ] || [ "$1" = version ] || exit 1\necho podman version 4.3.1\n'


def tools() -> Path:
    """The folder of the programs; made where it is not there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamp = FOLDER / "made-of.txt"
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != REQUIREMENTS.read_text():
            subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
            pip = [str(FOLDER / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r"]
            subprocess.run([*pip, str(REQUIREMENTS)], check=True)
            podman = FOLDER / "bin" / "podman"
            podman.write_text(_PODMAN)
            podman.chmod(0o755)
            stamp.write_text(REQUIREMENTS.read_text())
    return FOLDER / "bin"


if __name__ == "__main__":
    print(tools())
