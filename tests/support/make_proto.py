# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the code of the ABCI messages again from their .proto file: `make proto`.

The compiler is no dependency of the node or of its tests: it is put into an environment of its own.
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".cache" / "proto"
COMPILER = "grpcio-tools==1.85.1"
PROTO = "planetmint/consensus/cometbft/abci.proto"
LICENSE = "# SPDX-License-Identifier: AGPL-3.0-or-later\n"


def main() -> None:
    """Make the environment where it is missing, compile, and put the licence on top."""
    python = HOME / "bin" / "python"
    if not python.exists():
        venv.create(HOME, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", COMPILER], check=True)
    source = ROOT / "src"
    command = [python, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "--pyi_out=.", PROTO]
    subprocess.run(command, cwd=source, check=True)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        path = source / PROTO.replace(".proto", suffix)
        path.write_text(LICENSE + path.read_text())
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
