# SPDX-License-Identifier: AGPL-3.0-or-later
"""Benchmarks: a real node in its own process, load from other processes over HTTP and the stream.

`python -m bench` prints a table; `docs/benchmarks.md` says how each figure is measured.
"""
