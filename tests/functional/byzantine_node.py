# SPDX-License-Identifier: AGPL-3.0-or-later
"""A validator that proposes what it is told, valid or not, and votes for it; nothing of it is part of the product.

`BYZANTINE_BLOCKS=FILE python -m tests.functional.byzantine_node start` runs the ordinary command. The file holds
one block a line: a JSON list of transactions in base64. Each is proposed once, when it is this node's turn and
the file has got so far, with the honest part of the proposal behind it; `FILE.proposed` has a line for each.
"""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

from planetmint.app import BlockLifecycle
from planetmint.cli.main import main


class Plan:
    """The blocks that wait to be proposed; the file may grow while the node runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = path.with_name(path.name + ".proposed")
        self._given = 0

    def next(self) -> list[bytes]:
        """The next block's transactions; none where there are none left."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        if self._given >= len(lines):
            return []
        block = [base64.b64decode(item) for item in json.loads(lines[self._given])]
        self._given += 1
        with self._done.open("a") as file:
            file.write(f"{len(block)}\n")
        return block


def corrupt(plan: Plan) -> None:
    """Replace what a proposer does, and let it vote for its own work."""
    prepare, process = BlockLifecycle.prepare_proposal, BlockLifecycle.process_proposal
    own: list[list[bytes]] = []

    async def prepare_proposal(self: BlockLifecycle, raws: Sequence[bytes], max_bytes: int) -> list[bytes]:
        bad = plan.next()
        honest = await prepare(self, raws, max_bytes - sum(map(len, bad)) - 16 * len(bad))
        own[:] = [[*bad, *honest]] if bad else []
        return [*bad, *honest]

    async def process_proposal(self: BlockLifecycle, height: int, raws: Sequence[bytes]) -> bool:
        return list(raws) in own or await process(self, height, raws)

    setattr(BlockLifecycle, "prepare_proposal", prepare_proposal)  # noqa: B010 (a method is replaced on purpose)
    setattr(BlockLifecycle, "process_proposal", process_proposal)  # noqa: B010


if __name__ == "__main__":
    corrupt(Plan(Path(os.environ["BYZANTINE_BLOCKS"])))
    main()
