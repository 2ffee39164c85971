# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts run here: a pool of locked-down worker processes around the contract engine (decision D15).

Names are loaded when they are first asked for, because the worker processes import this package too and must
stay small: every contract runs in a fork of one.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planetmint.sandbox.engine import EngineKind, find_engine
    from planetmint.sandbox.layers import Layer
    from planetmint.sandbox.pool import SandboxLimits, SandboxPool

__all__ = ["EngineKind", "Layer", "SandboxLimits", "SandboxPool", "find_engine"]

_HOMES = {
    "EngineKind": "engine",
    "Layer": "layers",
    "SandboxLimits": "pool",
    "SandboxPool": "pool",
    "find_engine": "engine",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
