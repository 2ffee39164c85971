# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the driver programs share: expectations, one JSON line per step, and a plain WebSocket subscriber.

Runs inside each driver's own environment, so it uses only the standard library and `websockets`.
"""

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from websockets.sync.client import connect

PATIENCE = 30.0  # seconds until something that must happen is given up
POLL_INTERVAL = 0.05


class Unexpected(Exception):
    """The node did something else than the driver's users rely on."""


def expect(condition: object, what: str) -> None:
    """Raise `Unexpected` with `what` unless `condition` holds."""
    if not condition:
        raise Unexpected(what)


def expect_equal(found: object, wanted: object, what: str) -> None:
    """Raise `Unexpected` naming both values unless they are equal."""
    expect(found == wanted, f"{what}: expected {wanted!r}, got {found!r}")


def expect_refused(call: Callable[[], object], error: type[Exception], status: int, message: str) -> None:
    """Call and demand that the driver raises `error` with this status and a message that begins so."""
    try:
        answer = call()
    except error as refusal:
        found, _, info, _ = refusal.args  # the drivers put status, text, JSON and URL there
        expect_equal(found, status, "status of the refusal")
        expect(isinstance(info, dict), f"the refusal carries no JSON: {refusal.args!r}")
        text = info.get("message")
        expect(isinstance(text, str) and text.startswith(message), f"expected {message!r}, got {text!r}")
        return
    raise Unexpected(f"{message!r} was not refused; the answer was {answer!r}")


def eventually(ask: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true, for a bounded time, and return it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if answer:
            return answer
        expect(time.monotonic() < deadline, f"in vain waited for: {what}")
        time.sleep(POLL_INTERVAL)


class Subscriber:
    """Reads a stream in the background with an ordinary WebSocket client and keeps every message in order."""

    def __init__(self, url: str) -> None:
        self.messages: list[Any] = []
        self._socket = connect(url, open_timeout=PATIENCE)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for message in self._socket:
            expect(isinstance(message, str), "a stream message was not text")
            self.messages.append(json.loads(message))

    def of(self, transaction_ids: Iterable[str]) -> list[Any]:
        """Messages about these transactions, in the order they came."""
        wanted = set(transaction_ids)
        return [message for message in self.messages if message["transaction_id"] in wanted]

    def wait_for(self, transaction_ids: Iterable[str]) -> list[Any]:
        """Wait until each transaction was seen, then return the messages about them."""
        wanted = set(transaction_ids)
        eventually(
            lambda: wanted <= {message["transaction_id"] for message in self.of(wanted)},
            f"stream messages for {len(wanted)} transactions",
        )
        return self.of(wanted)

    def close(self) -> None:
        self._socket.close()


Step = Callable[[], object]


def run(driver: str, steps: Iterable[Step]) -> int:
    """Run the steps in order, print a JSON line for each, stop at the first failure; returns the exit code."""
    for step in steps:
        line = {"driver": driver, "step": step.__name__, "ok": True}
        try:
            line["seen"] = step()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is the step's failure
            line |= {"ok": False, "error": f"{type(error).__name__}: {error}"}
            traceback.print_exc(file=sys.stderr)
        print(json.dumps(line, ensure_ascii=True), flush=True)
        if not line["ok"]:
            return 1
    return 0
