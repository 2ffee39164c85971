# SPDX-License-Identifier: AGPL-3.0-or-later
"""What operators do to a ledger in a server while no node runs: make it, delete it, bring it to our layout."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from planetmint.ports.errors import LayoutError, StoreError
from planetmint.storage.tarantool.address import Address
from planetmint.storage.tarantool.session import Session
from planetmint.storage.tarantool.setup import set_up
from planetmint.storage.tarantool.store import LAYOUT, TarantoolStore, about_of, check_layout


@asynccontextmanager
async def _session(address: Address) -> AsyncIterator[Session]:
    session = Session(address)
    try:
        await session.connect()
        yield session
    finally:
        await session.close()


async def _layout(session: Session) -> int:
    answer = await session.call("about")
    return int(answer[0]["layout"])


async def exists(address: Address) -> bool:
    """Whether a ledger was ever laid out here; raises StoreError."""
    async with _session(address) as session:
        return await _layout(session) > 0


async def install(address: Address) -> None:
    """Put the procedures into the server where it has none, or older ones.

    Raises:
        LayoutError: The login has not the rights; the message says what to run.
        StoreError: No server.
    """
    session = Session(address)
    try:
        await session.connect()
        about_of(await session.call("about"), address)
        return
    except LayoutError:
        pass
    finally:
        await session.close()
    try:
        await set_up(address, address.user)
    except StoreError as error:
        raise LayoutError(
            f"{address} does not have the procedures of this program, and user `{address.user}` may not put them "
            f"there ({error}). Let its administrator load what `python -m planetmint.storage.tarantool "
            f"{address.user}` prints, then try again"
        ) from error


async def lay_out(address: Address) -> None:
    """Make the layout where there is none, the procedures included; raises StoreError."""
    await install(address)
    store = TarantoolStore(address)
    try:
        await store.open()
    finally:
        await store.close()


async def drop(address: Address) -> bool:
    """Delete the ledger for good; whether there was one. Raises StoreError."""
    async with _session(address) as session:
        answer = await session.call("drop")
        return bool(answer and answer[0])


async def migrate(address: Address) -> tuple[int, int]:
    """Bring the ledger, and the procedures, to the present layout.

    Returns:
        The layout that it had (0: none, and none was made), and the present one.

    Raises:
        LayoutError: It is of a newer program, or there is no way from its layout.
        StoreError: No server, or it refused.
    """
    await install(address)
    async with _session(address) as session:
        before = await _layout(session)
        if before > LAYOUT:
            check_layout(before, address)
        if 0 < before < LAYOUT:
            await session.call("migrate")
        return before, LAYOUT
