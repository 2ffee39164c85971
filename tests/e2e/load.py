# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes on while a network suffers: somebody posts, somebody follows the stream and resumes by position."""

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from planetmint.testing.build import Builder, Dialect
from tests.support.network import NetworkNode, until

_PAUSE = 0.05
_names = itertools.count()


class Poster(threading.Thread):
    """Posts transactions in mode commit, one after the other, to nodes in turn; goes on after refusals.

    Attributes:
        promised: Ids that were answered with 202: they are in the ledger for good.
        refused: Answers that were not 202, as status codes; 0 where there was none.
    """

    def __init__(self, nodes: Sequence[NetworkNode]) -> None:
        super().__init__(daemon=True)
        self.promised: list[str] = []
        self.refused: list[int] = []
        self._nodes = itertools.cycle(nodes)
        self._ended = threading.Event()
        self._name = next(_names)

    def run(self) -> None:
        builder, owner = Builder(Dialect.PLANETMINT_2), f"poster {self._name}"
        for number in itertools.count():
            if self._ended.is_set():
                return
            transaction = builder.create(owner, metadata=f"{time.time_ns()}-{number}")
            try:
                status = next(self._nodes).post(transaction).status_code
            except httpx.HTTPError:
                status = 0
            if status == 202:
                self.promised.append(transaction.id)
            else:
                self.refused.append(status)
                self._ended.wait(_PAUSE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Post no more."""
        self._ended.set()
        self.join()

    def wait_for_more(self, count: int, patience: float = 60.0) -> None:
        """Until `count` further transactions are promised; raises NotInTime."""
        wanted = len(self.promised) + count
        until(lambda: len(self.promised) >= wanted, f"{count} more transactions are committed", patience)


class Follower(threading.Thread):
    """Follows the stream of one node from block 1 on; where it breaks off, it goes on after the last message.

    Attributes:
        ids: Of the transactions, in the order in which they came.
        breaks: How often the connection ended.
    """

    def __init__(self, node: NetworkNode) -> None:
        super().__init__(daemon=True)
        self.ids: list[str] = []
        self.breaks = 0
        self._url = node.stream_url
        self._cursor: str | None = None
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                self._follow()
            self.breaks += not self._ended.is_set()
            self._ended.wait(_PAUSE)

    def _follow(self) -> None:
        query = f"after={self._cursor}" if self._cursor else "from_height=1"
        with connect(f"{self._url}?{query}", open_timeout=5, close_timeout=1) as stream:
            while not self._ended.is_set():
                with contextlib.suppress(TimeoutError):
                    message = json.loads(stream.recv(timeout=0.5))
                    self.ids.append(message["transaction_id"])
                    self._cursor = message["cursor"]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join()
