# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes `docs/differences.md` from the list: `python -m tests.differential.page`."""

from pathlib import Path

from tests.differential import contracts
from tests.differential.differences import DIFFERENCES
from tests.differential.environments import PACKAGES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"

HEAD = """# Where the node differs from the published servers

The node computes the same ids and reaches the same verdicts, with the same error classes, as the published
packages

{packages}

except where this page says so. `make differential` generates and damages 20,000 transactions and asks both
sides; `tests/differential` holds a shorter run for every change, and one for contracts, which are generated and
damaged likewise. What differs without standing here fails them.
This page is made from `tests/differential/differences.py` by `python -m tests.differential.page`.

An answer of 500 by a published server counts as a refusal. Outside of the comparison are

- the end of elections, which is compared by vectors;
- transactions that spend outputs of another dialect: no published server can do that;
- conditions with 17 to 99 levels of thresholds, which the node refuses (ThresholdTooDeep) and which keep the
  published code busy for minutes or for ever;
- what the published servers remember from one request to the next: they look up parsed transactions by the claimed
  id, so that a body which differs only in `1`, `1.0` or `true` is taken for the one before;
- their databases: planetmint 2.x stores amounts as numbers and cannot read back one with leading zeros;
- planetmint 2.x answering 401 to every valid transaction of version 2.0.

| name | published | node | reason | decided in |
|---|---|---|---|---|
{rows}
"""


def page() -> str:
    """The whole page."""
    packages = "\n".join(f"- {', '.join(names)}" for names in PACKAGES.values())
    rows = "\n".join(
        f"| `{item.name}` | {item.published} | {item.node} | {item.reason} | {item.source} |"
        for item in (*DIFFERENCES, *contracts.DIFFERENCES)
    )
    return HEAD.format(packages=packages, rows=rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
