# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store of production nodes: a Tarantool server, managed by the node or run by somebody else."""

from planetmint.storage.tarantool.address import Address
from planetmint.storage.tarantool.instance import Instance
from planetmint.storage.tarantool.keeper import drop, exists, lay_out, migrate
from planetmint.storage.tarantool.setup import set_up, setup_script
from planetmint.storage.tarantool.store import TarantoolStore

__all__ = [
    "Address",
    "Instance",
    "TarantoolStore",
    "drop",
    "exists",
    "lay_out",
    "migrate",
    "set_up",
    "setup_script",
]
