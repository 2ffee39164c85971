# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fuzzer per parser, each with its invariant in the first line: `python -m fuzz.<name> --seconds 20`.

Inputs are made by changing known ones at random. A run is repeated exactly by its seed; an input that breaks an
invariant is kept in `.cache/fuzz/` and printed.
"""
