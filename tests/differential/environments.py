# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes the environments in which the published packages run: one per generation, every version pinned.

Their own pins are years old, so the packages are installed without dependencies beside releases that still
install; what their rules do not need is replaced by stand-ins in `oracle`. Run `python -m
tests.differential.environments` to make them; a second run finds them and does nothing.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / ".cache" / "differential"

BUILD_TOOLS = ("setuptools==67.8.0", "wheel==0.43.0")
"""For the two packages that come as source only; `pkg_resources` is also imported by all of them."""

COMMON = (
    "attrs==26.1.0",
    "base58==2.1.1",
    "cffi==2.1.1",
    "cryptography==42.0.8",
    "jsonschema==4.16.0",
    "pyasn1==0.4.8",
    "pycparser==3.12",
    "PyNaCl==1.5.0",
    "pyrsistent==0.20.0",
    "python-rapidjson==1.25",
    "PyYAML==6.0.2",
)

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "bigchaindb": ("bigchaindb==2.2.2", "cryptoconditions==0.8.1"),
    "planetmint1": (
        "planetmint==1.4.2",
        "planetmint-transactions==0.7.0",
        "planetmint-cryptoconditions==1.1.2",
    ),
    "planetmint2": (
        "planetmint==2.5.3",
        "planetmint-transactions==0.8.4",
        "planetmint-cryptoconditions==1.2.2",
    ),
}

_ENGINE = "zenroom==3.16.1"

CONTRACTS: Mapping[str, tuple[str, ...]] = {
    "contracts1": ("planetmint-transactions==0.7.0", "planetmint-cryptoconditions==1.1.2", _ENGINE),
    "contracts2": ("planetmint-transactions==0.8.4", "planetmint-cryptoconditions==1.2.2", _ENGINE),
}
"""The same packages beside an engine: what they ask for contains none (transactions 6)."""

_ALL = {**PACKAGES, **CONTRACTS}


class EnvironmentFailed(Exception):
    """An environment could not be made; the message ends with what the installer said."""


def interpreter(name: str) -> Path:
    """The Python of the environment `name`, which is made first if it is not there.

    Raises:
        EnvironmentFailed: No Python 3.11, or the installer failed.
    """
    folder = ROOT / name
    with _lock(name):
        if not _is_complete(folder, name):
            _make(folder, name)
    return folder / "bin" / "python"


def make_all() -> dict[str, Path]:
    """The Python of every environment without contracts by name; missing ones are made side by side."""
    with ThreadPoolExecutor(len(PACKAGES)) as pool:
        return dict(zip(PACKAGES, pool.map(interpreter, PACKAGES), strict=True))


def _make(folder: Path, name: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run([_python(), "-m", "venv", str(folder)])
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
    ]
    _run([*pip, *BUILD_TOOLS])
    _run([*pip, "--no-build-isolation", *COMMON, *_ALL[name]])
    _stamp(folder).write_text(_recipe(name), encoding="utf-8")


def _is_complete(folder: Path, name: str) -> bool:
    stamp = _stamp(folder)
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _recipe(name)


def _stamp(folder: Path) -> Path:
    """Written last, so that an environment with a stamp is whole."""
    return folder / "complete"


def _recipe(name: str) -> str:
    recipe = "\n".join([_python(), *BUILD_TOOLS, *COMMON, *_ALL[name]])
    return hashlib.sha256(recipe.encode()).hexdigest()


def _python() -> str:
    """A Python 3.11: newer ones no longer import what the packages were written against."""
    if sys.version_info[:2] == (3, 11):
        return str(Path(sys.base_prefix) / "bin" / "python3.11")
    found = shutil.which("python3.11")
    if found is None:
        raise EnvironmentFailed("the published packages need a python3.11 on the path")
    return found


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentFailed(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Let one process at a time make the environment `name`."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    with ThreadPoolExecutor(len(_ALL)) as makers:
        for environment, python in zip(_ALL, makers.map(interpreter, _ALL), strict=True):
            print(f"{environment}: {python}")
