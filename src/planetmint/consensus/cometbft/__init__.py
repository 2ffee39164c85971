# SPDX-License-Identifier: AGPL-3.0-or-later
"""CometBFT 0.38 by ABCI 2.0: a socket server that the engine calls, and a client of its RPC."""

from planetmint.consensus.cometbft.engine import CometEngine
from planetmint.consensus.cometbft.genesis import Genesis, read_app_state
from planetmint.consensus.cometbft.rpc import EngineStatus

__all__ = ["CometEngine", "EngineStatus", "Genesis", "read_app_state"]
