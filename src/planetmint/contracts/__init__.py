# SPDX-License-Identifier: AGPL-3.0-or-later
"""Contracts in Zencode: what the engine is asked, what is refused unread, and what its answer means.

Pure functions over values; the engine itself runs behind `planetmint.ports.contracts`. Source: transactions 5.4
and 6, bounds in consensus-and-storage 8.
"""

from planetmint.contracts.call import ContractCall, EngineAnswer, Purpose

__all__ = ["ContractCall", "EngineAnswer", "Purpose"]
