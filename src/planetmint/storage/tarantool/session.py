# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection to Tarantool that comes back by itself, and calls of our procedures over it.

A call fails with StoreError at once where there is no server, and works again when there is one. Texts go over
the wire as Latin-1, so that raw bytes arrive as they are; `raw` gives them back.
"""

import asyncio
import time
from typing import Any, TypeAlias

from asynctnt import Connection
from asynctnt.exceptions import ErrorCode, TarantoolDatabaseError, TarantoolError

from planetmint.ports.errors import LayoutError, StoreError, StoreFull
from planetmint.storage.tarantool.address import Address

Value: TypeAlias = Any
"""What comes over the wire: numbers, texts (Latin-1), booleans, None, lists and maps of them; unchecked."""

_ENCODING = "latin-1"

FULL = frozenset({ErrorCode.ER_MEMORY_ISSUE, ErrorCode.ER_WAL_IO})
"""Codes of errors by which a server tells that it has no room."""

_STARTING = frozenset({ErrorCode.ER_LOADING})
_LOGIN = frozenset({ErrorCode.ER_PASSWORD_MISMATCH, ErrorCode.ER_NO_SUCH_USER, 47, 45})
_MISSING = frozenset({ErrorCode.ER_NO_SUCH_PROC, ErrorCode.ER_ACCESS_DENIED})


def raw(text: object) -> bytes:
    """The bytes of a text that came over the wire."""
    if isinstance(text, str):
        return text.encode(_ENCODING)
    raise StoreError(f"the ledger is damaged: {type(text).__name__} where a text must be")


def wire(data: bytes) -> str:
    """Bytes as a text that can be sent."""
    return data.decode(_ENCODING)


_REFUSALS = 20
"""So many times a login may be refused while a server starts, where attempts have no other end."""


class Session:
    """One connection; many calls may be under way.

    Args:
        address: Where to connect, and as whom.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._failed_at = float("-inf")
        self._failure: StoreError | None = None

    async def connect(self) -> None:
        """Connect; while the server starts or is not there yet, as often as the address says.

        Raises:
            StoreError: No server, or it does not let us in; the message says what to do.
        """
        tries = refusals = 0
        while True:
            try:
                await self._connect()
                return
            except StoreError as error:
                tries += 1
                refusals += getattr(error.__cause__, "code", None) in _LOGIN
                if tries == self.address.max_tries or refusals == _REFUSALS:
                    raise
            await asyncio.sleep(self.address.reconnect_delay)

    async def close(self) -> None:
        """Let go of the connection; may be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _drop(connection)
            await asyncio.sleep(0)

    async def call(self, name: str, *arguments: Value) -> list[Value]:
        """What procedure `name` returns; StoreError where it could not be asked, or did not answer."""
        connection: Connection = self._connection
        if connection is None or not connection.is_connected:
            connection = await self._reconnect()
        try:
            response = await connection.call(
                "planetmint", [name, *arguments], timeout=self.address.request_timeout
            )
        except TarantoolDatabaseError as error:
            raise self._refused(error) from error
        except TimeoutError as error:
            # Perhaps nobody is at the other end any more: the next call finds out by a connection of its own.
            if self._connection is connection:
                self._connection = None
            _drop(connection)
            raise StoreError(f"{self.address} did not answer: {_words(error)}") from error
        except (TarantoolError, OSError) as error:
            raise StoreError(f"{self.address} did not answer: {_words(error)}") from error
        return list(response.body or ())

    async def evaluate(self, text: str, *arguments: Value) -> list[Value]:
        """Run Lua, for which the login needs more rights than a node has."""
        connection = self._connection or await self._reconnect()
        try:
            response = await connection.eval(text, list(arguments), timeout=self.address.request_timeout)
        except TarantoolDatabaseError as error:
            raise StoreError(f"{self.address} refused: {error.message}") from error
        except (TarantoolError, OSError) as error:
            raise StoreError(f"{self.address} did not answer: {_words(error)}") from error
        return list(response.body or ())

    def full(self, message: str) -> StoreFull:
        """The error for a server without room."""
        return StoreFull(
            f"{self.address} has no room ({message}): give it more memory (database.memory, or memtx_memory of a "
            "server of your own) or disk, and start again"
        )

    async def _reconnect(self) -> Connection:
        """Connect where the connection was lost: one attempt in `reconnect_delay`, others fail at once."""
        async with self._connecting:
            connection = self._connection
            if connection is not None and connection.is_connected:
                return connection
            if self._failure is not None and time.monotonic() < self._failed_at + self.address.reconnect_delay:
                raise StoreError(str(self._failure))
            return await self._connect()

    async def _connect(self) -> Connection:
        await self.close()
        address = self.address
        connection = Connection(
            host="unix/" if address.socket else address.host,
            port=str(address.socket) if address.socket else address.port,
            username=None if address.login in (None, "guest") else address.login,
            password=(address.password or "").encode().decode(_ENCODING),
            fetch_schema=False,
            auto_refetch_schema=False,
            connect_timeout=address.connection_timeout,
            reconnect_timeout=0,
            ping_timeout=0,
            encoding=_ENCODING,
        )
        try:
            await connection.connect()
        except TarantoolDatabaseError as error:
            raise self._failed(self._refused(error)) from error
        except (TarantoolError, OSError, AssertionError) as error:
            raise self._failed(StoreError(f"{address} cannot be reached: {_words(error)}")) from error
        self._connection, self._failure = connection, None
        return connection

    def _failed(self, failure: StoreError) -> StoreError:
        self._failed_at, self._failure = time.monotonic(), failure
        return failure

    def _refused(self, error: TarantoolDatabaseError) -> StoreError:
        """What a server's error means to an operator."""
        address, message = self.address, str(error.message).removesuffix(".")
        if error.code in _LOGIN:
            return StoreError(
                f"{address} does not let user `{address.user}` in ({message}): check database.login and "
                "database.password"
            )
        if error.code in _STARTING:
            return StoreError(f"{address} is starting ({message}): try again")
        if error.code in FULL:
            return self.full(message)
        if error.code in _MISSING:
            return LayoutError(
                f"{address} does not have the procedures of this program, or user `{address.user}` may not run "
                f"them ({message}): run `planetmint init`, or `planetmint migrate` after an update"
            )
        return StoreError(f"{address} failed: {message}")


def _drop(connection: Connection) -> None:
    """End a connection and the calls that wait for it.

    The library's own ways wait until all is sent, however long a server that does nothing takes to read it.
    """
    transport = connection._transport
    if transport is not None:
        transport.abort()
    else:
        connection.close()


def _words(error: BaseException) -> str:
    """An error in words, for those that have none."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    return str(error) or type(error).__name__
