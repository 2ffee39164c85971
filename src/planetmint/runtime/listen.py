# SPDX-License-Identifier: AGPL-3.0-or-later
"""Listening sockets, made before anything is served.

So a port that is taken becomes one line for the operator, and nothing has been started by then.
"""

import errno
import os
import socket
from contextlib import suppress

from planetmint.runtime.settings import ConfigurationError
from planetmint.runtime.settings_schema import PREFIX

_SKIPPED = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""What a machine without one of the address families answers for it."""


def listen(setting: str, host: str, port: int, backlog: int = 2048) -> list[socket.socket]:
    """Bind and listen on every address of a host (a name may stand for an IPv4 and an IPv6 one), non-blocking.

    Args:
        setting: What the operator would change, `server.bind`.
        host: Name or address; empty for every interface.
        port: 0 for a free one, the same for all addresses.
        backlog: Connections that the system may hold until they are accepted.

    Raises:
        ConfigurationError: The name is unknown, the port is taken or not allowed.
    """
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, address in _addresses(setting, host, port):
        try:
            sockets.append(_bound(family, (address, port or _port_of(sockets)), backlog))
        except OSError as error:
            refused = error
            if error.errno not in _SKIPPED:
                break
    if sockets and (refused is None or refused.errno in _SKIPPED):
        return sockets
    for one in sockets:
        one.close()
    raise _explain(setting, host, port, refused) from None


def _addresses(setting: str, host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{setting}: there is no host `{host}`. {_remedy(setting)}.") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _port_of(sockets: list[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1]) if sockets else 0


def _bound(family: socket.AddressFamily, address: tuple[str, int], backlog: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restart must not wait until the last connections of the node before it have been forgotten.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(backlog)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


def _explain(setting: str, host: str, port: int, error: OSError | None) -> ConfigurationError:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    match error.errno if error else None:
        case errno.EADDRINUSE:
            return ConfigurationError(
                f"{setting}: {place} is taken by another program. Stop that one, or {_remedy(setting, 'set')}."
            )
        case errno.EACCES | errno.EPERM:
            reason = "may not be used by this user"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            reason = "is no address of this machine"
        case number:
            reason = f"cannot be used ({os.strerror(number) if number else 'no address'})"
    return ConfigurationError(f"{setting}: {place} {reason}. {_remedy(setting)}.")


def _remedy(setting: str, verb: str = "Set") -> str:
    variable = f"{PREFIX}_{setting.replace('.', '_')}".upper()
    return f"{verb} {setting} in the configuration file or {variable}"
