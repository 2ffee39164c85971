# SPDX-License-Identifier: AGPL-3.0-or-later
"""Puts our procedures into a server that somebody else runs, and lets a node's user execute them."""

from pathlib import Path

from planetmint.storage.tarantool.address import Address
from planetmint.storage.tarantool.session import Session, wire

_HERE = Path(__file__).resolve().parent


async def set_up(administrator: Address, user: str, password: str | None = None) -> None:
    """Install or renew the procedures, make the user where there is none, and give it the one right that it needs.

    Args:
        administrator: A login that may run Lua, create users and grant rights; the server's `admin`.
        user: Who shall run the node.
        password: Of that user; None leaves it as it is.

    Raises:
        StoreError: No server, or the login has not these rights; run `setup_script` there instead.
    """
    session = Session(administrator)
    try:
        await session.connect()
        arguments = [wire(_text("procedures.lua")), wire(user.encode())]
        secret = None if password is None else wire(password.encode())
        await session.evaluate(_text("install.lua").decode("latin-1"), *arguments, secret)
    finally:
        await session.close()


def setup_script(user: str) -> str:
    """Lua that does the same in the server's console; it leaves the user's password as it is."""
    procedures, install = _text("procedures.lua").decode(), _text("install.lua").decode()
    bars = "=" * 8
    return (
        f"local install = [{bars}[\n{install}]{bars}]\n"
        f"local procedures = [{bars}[\n{procedures}]{bars}]\n"
        f"assert(loadstring(install, '=install'))(procedures, {_quoted(user)})\n"
    )


def _quoted(text: str) -> str:
    """A text as Lua writes it."""
    escaped = "".join(
        f"\\{byte:03d}" if not 32 <= byte < 127 or byte in b"\\'" else chr(byte) for byte in text.encode()
    )
    return f"'{escaped}'"


def _text(name: str) -> bytes:
    return (_HERE / name).read_bytes()
