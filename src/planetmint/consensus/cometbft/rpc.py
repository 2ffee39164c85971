# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine's JSON-RPC: transactions handed over in batches, and how the engine is.

Source: consensus-and-storage 1.
"""

from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from planetmint.consensus.cometbft.http_client import HttpClient, Target
from planetmint.ports.errors import EngineError

_BATCH_LIMIT = "batch request exceeds maximum"
_BODY_LIMIT = "request body too large"


class _Error(msgspec.Struct):
    message: str = ""
    data: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None


class _SyncInfo(msgspec.Struct):
    latest_block_height: str = "0"
    catching_up: bool = False


class _Status(msgspec.Struct):
    sync_info: _SyncInfo


class _StatusAnswer(msgspec.Struct):
    result: _Status | None = None
    error: _Error | None = None


_ANSWERS = msgspec.json.Decoder(list[_Answer] | _Answer)
_STATUS = msgspec.json.Decoder(_StatusAnswer)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine says of itself.

    Attributes:
        height: Of its newest block, counted its own way.
        catching_up: Whether it still fetches blocks that others have.
    """

    height: int
    catching_up: bool


class TooMany(Exception):
    """The engine takes no batches as long as this one; smaller ones it does."""


class RpcClient:
    """Talks to one engine."""

    def __init__(self, target: Target, *, timeout: float = 10.0) -> None:
        self._http = HttpClient(target, timeout=timeout)

    @property
    def target(self) -> Target:
        """Where the engine answers."""
        return self._http.target

    async def broadcast(self, raws: Sequence[bytes]) -> list[str | None]:
        """Hand transactions to the mempool.

        Returns:
            Per transaction the engine's words about why it does not even check it; None where it does.

        Raises:
            TooMany: Nothing was taken, because there are too many (bytes) for one request.
            Unanswered: The engine may check them or not; it would call them known if they were sent again.
            EngineError: Nobody there, or no answer that can be read; in this case some may have been taken.
        """
        body = await self._http.post(_broadcast(raws), once=True)
        try:
            answers = _ANSWERS.decode(body)
        except msgspec.MsgspecError as error:
            raise EngineError(f"the engine's answer cannot be read: {error}") from None
        if isinstance(answers, _Answer):
            answers = [answers]
        if len(answers) == 1 and (first := answers[0].error) is not None and _limit(first):
            raise TooMany(_words(first))
        if len(answers) != len(raws):
            raise EngineError(f"the engine gave {len(answers)} answers to {len(raws)} questions")
        return [None if answer.error is None else _words(answer.error) for answer in answers]

    async def status(self) -> EngineStatus:
        """How the engine is. Raises EngineError where it does not say."""
        body = await self._http.post(b'{"jsonrpc":"2.0","id":1,"method":"status","params":[]}')
        try:
            answer = _STATUS.decode(body)
            if answer.result is None:
                raise EngineError(_words(answer.error or _Error("no result")))
            sync = answer.result.sync_info
            return EngineStatus(int(sync.latest_block_height), sync.catching_up)
        except (msgspec.MsgspecError, ValueError) as error:
            raise EngineError(f"the engine's answer cannot be read: {error}") from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def request_size(raw: bytes) -> int:
    """Bytes that a transaction takes up in a request, at most."""
    return (len(raw) + 2) // 3 * 4 + len(_BEFORE) + len(_AFTER) + 1


_BEFORE = b'{"jsonrpc":"2.0","id":1,"method":"broadcast_tx_async","params":["'
_AFTER = b'"]}'
_BETWEEN = _AFTER + b"," + _BEFORE


def _broadcast(raws: Sequence[bytes]) -> bytes:
    # Answers come in the order of the questions, so that one id does for all.
    texts = [b2a_base64(raw, newline=False) for raw in raws]
    return b"".join((b"[", _BEFORE, _BETWEEN.join(texts), _AFTER, b"]"))


def _limit(error: _Error) -> bool:
    return _BATCH_LIMIT in error.data or _BODY_LIMIT in error.data


def _words(error: _Error) -> str:
    return error.data or error.message
