# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts in Zencode: what the engine is asked, what is refused unread, and what its answer means.

Pure functions over values; the engine itself runs behind `planetmint.ports.contracts`. Source: transactions 5.4
and 6, bounds in consensus-and-storage 8.
"""

from planetmint.contracts.call import ContractCall, EngineAnswer, Purpose
from planetmint.contracts.make import make_call
from planetmint.contracts.refusal import refusal
from planetmint.contracts.verdict import equal_json, hint, judge

__all__ = ["ContractCall", "EngineAnswer", "Purpose", "equal_json", "hint", "judge", "make_call", "refusal"]
