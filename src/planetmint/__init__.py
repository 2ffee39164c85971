# SPDX-License-Identifier: AGPL-3.0-or-later
"""A blockchain database node that speaks the BigchainDB 2.x and Planetmint wire formats."""

from planetmint.version import __version__

__all__ = ["__version__"]
