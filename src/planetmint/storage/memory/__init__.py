# SPDX-License-Identifier: AGPL-3.0-or-later
"""A store that keeps everything in dictionaries: for tests, and as the plainest reading of the contract."""

from planetmint.storage.memory.store import MemoryStore

__all__ = ["MemoryStore"]
