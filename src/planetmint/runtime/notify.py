# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tells a service manager how the node is: the few lines of systemd's notification protocol that are needed."""

import contextlib
import os
import socket
from collections.abc import Mapping

VARIABLE = "NOTIFY_SOCKET"


def notify(message: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send `READY=1`, `STOPPING=1` or `STATUS=...`; does nothing where nobody asked for it.

    A manager that does not listen is no reason to fail.
    """
    name = environ.get(VARIABLE, "")
    if not name.startswith(("/", "@")):
        return
    # A name that begins with @ stands for one that begins with a zero byte: a socket without a file.
    address = "\0" + name[1:] if name.startswith("@") else name
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(message.encode(), address)
