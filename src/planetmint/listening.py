# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sockets to listen on, alike for every edge: all addresses of a host on one port, or a precise refusal."""

import asyncio
import errno
import socket
from collections.abc import Sequence

SocketOption = tuple[int, int, int]
"""Level, name and value, as for `socket.setsockopt`; accepted connections inherit it."""

_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def bound_sockets(host: str, port: int, options: Sequence[SocketOption] = ()) -> list[socket.socket]:
    """Sockets bound to every address of `host` that this machine has, all with the same port.

    A name like `localhost` often stands for an IPv6 address that the machine lacks: it is left out as long as
    another address works. `::` alone takes IPv4 too.

    Args:
        host: Name or address, IPv6 with or without brackets; empty for all addresses.
        port: 0 for a free one.
        options: Set on each socket.

    Raises:
        OSError: The port is taken or not allowed, the host is unknown, or no address is this machine's.
    """
    name = host.removeprefix("[").removesuffix("]") or None
    found = await asyncio.get_running_loop().getaddrinfo(
        name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                one = _bound(family, (address[0], port, *address[2:]), options, alone=len(found) == 1)
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                missing = error
                continue
            sockets.append(one)
            port = one.getsockname()[1]
        if not sockets and missing is not None:
            raise missing
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bound(
    family: int, address: tuple[object, ...], options: Sequence[SocketOption], *, alone: bool
) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait until the connections of the process before it are forgotten.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not (alone and address[0] == "::"))
        for level, option, value in options:
            one.setsockopt(level, option, value)
        one.bind(address)
        one.setblocking(False)
    except OSError as error:
        one.close()
        raise OSError(error.errno, f"{error.strerror}: {address[0]}, port {address[1]}") from None
    return one
