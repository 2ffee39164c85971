# SPDX-License-Identifier: AGPL-3.0-or-later
"""Consensus of one: this process makes the blocks (decision D8)."""

from planetmint.consensus.solo.engine import SoloEngine

__all__ = ["SoloEngine"]
