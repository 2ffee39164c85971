# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which machine and which versions a figure belongs to."""

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

_PACKAGES = ("uvloop", "uvicorn", "starlette", "httptools", "PyNaCl", "python-rapidjson")


def describe(folder: Path) -> dict[str, str]:
    """Names and values, in the order in which they are to be shown.

    Args:
        folder: On the disk that the node uses.
    """
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "disk": _disk(folder),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        "load average at the start": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = facts.get("model name", platform.machine())
    return f"{model} at {float(facts['cpu MHz']):.0f} MHz" if "cpu MHz" in facts else model


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _disk(folder: Path) -> str:
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    path = str(folder.resolve())
    inside = [fields for fields in mounts if path.startswith(fields[1].rstrip("/") + "/")]
    return max(inside, key=lambda fields: len(fields[1]))[2] if inside else "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
