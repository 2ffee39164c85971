# SPDX-License-Identifier: AGPL-3.0-or-later
"""The version of the node, in one place."""

__version__ = "0.1.0"
