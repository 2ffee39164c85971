# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kits for tests of the node and of what is built on it; they use the core and the ports only.

`build` and `scenario` make signed transactions, `ledger` judges them in memory, `invalid` is the catalogue of
invalid ones, and `store_conformance` is what every storage backend has to pass.
"""
