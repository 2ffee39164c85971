# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts in Zencode: what the engine is asked, what is refused unread, and what its answer means.

Pure functions over values; the engine itself runs behind `planetmint.ports.contracts`. Source: transactions 5.4
and 6, bounds in consensus-and-storage 8.
"""

from planetmint.contracts.bounds import check_bounds
from planetmint.contracts.call import ContractCall, EngineAnswer, Purpose
from planetmint.contracts.refusal import refusal
from planetmint.contracts.text import engine_json, seed
from planetmint.contracts.verdict import equal_json, hint, judge

__all__ = [
    "ContractCall",
    "EngineAnswer",
    "Purpose",
    "check_bounds",
    "engine_json",
    "equal_json",
    "hint",
    "judge",
    "refusal",
    "seed",
]
