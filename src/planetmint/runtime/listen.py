# SPDX-License-Identifier: AGPL-3.0-or-later
"""What to tell an operator when a port cannot be listened on."""

import errno
import os
import socket

from planetmint.runtime.settings import ConfigurationError
from planetmint.runtime.settings_schema import PREFIX


def explain(setting: str, host: str, port: int, error: OSError) -> ConfigurationError:
    """One line for a refused address.

    Args:
        setting: What the operator would change: `server.bind`, `wsserver.port`.
        host: Name or address that was to be listened on; empty for every interface.
        port: The port.
        error: What the system said.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    of_host = setting.replace(".port", ".host")
    if isinstance(error, socket.gaierror):
        return ConfigurationError(f"{of_host}: there is no host `{host}`. Set {_ways(of_host)}.")
    match error.errno:
        case errno.EADDRINUSE:
            return ConfigurationError(
                f"{setting}: {place} is taken by another program. Stop that one, or set {_ways(setting)}."
            )
        case errno.EACCES | errno.EPERM:
            return ConfigurationError(f"{setting}: {place} may not be used by this user. Set {_ways(setting)}.")
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return ConfigurationError(f"{of_host}: {host} is no address of this machine. Set {_ways(of_host)}.")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ConfigurationError(f"{setting}: cannot listen on {place} ({reason}). Set {_ways(setting)}.")


def _ways(setting: str) -> str:
    return f"{setting} in the configuration file or {PREFIX}_{setting.replace('.', '_').upper()}"
