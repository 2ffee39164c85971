# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator reads when a port cannot be listened on."""

import errno
import socket

import pytest

from planetmint.runtime.listen import explain


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (OSError(errno.EADDRINUSE, "in use"), ("server.bind: localhost:9984 is taken", "PLANETMINT_SERVER_BIND")),
        (
            OSError(errno.EACCES, "denied"),
            ("server.bind: localhost:9984 may not be used", "PLANETMINT_SERVER_BIND"),
        ),
        (OSError(errno.EADDRNOTAVAIL, "no"), ("localhost is no address of this machine",)),
        (socket.gaierror(-2, "unknown"), ("there is no host `localhost`",)),
        (OSError(errno.EMFILE, "many"), ("cannot listen on localhost:9984",)),
        (OSError("odd"), ("cannot listen on localhost:9984 (odd)",)),
    ],
)
def test_a_refused_address_is_one_line_with_setting_address_and_way_out(
    error: OSError, parts: tuple[str, ...]
) -> None:
    message = str(explain("server.bind", "localhost", 9984, error))
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_a_host_of_its_own_setting_is_named_where_the_host_is_wrong() -> None:
    message = str(explain("wsserver.port", "nowhere", 9985, socket.gaierror(-2, "unknown")))
    assert message.startswith("wsserver.host: ")
    assert "PLANETMINT_WSSERVER_HOST" in message


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert "[::1]:9985" in str(explain("wsserver.port", "::1", 9985, OSError(errno.EADDRINUSE, "in use")))
