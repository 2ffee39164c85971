# SPDX-License-Identifier: AGPL-3.0-or-later
"""The running node as commands ask it: over its Web API, at the address that the settings name.

No proxy stands between a node and its operator's commands, whatever the environment says.
"""

import http.client
import json
import ssl
from typing import cast
from urllib.parse import urlencode

from planetmint.cli.console import CommandFailed
from planetmint.model.json import JsonObject, JsonValue
from planetmint.runtime.settings import ServerSettings

_TIMEOUT = 30.0
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_PREFIX = "/api/v1"


class Refused(Exception):
    """The node answered, and did not do it; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NodeClient:
    """Asks one node."""

    def __init__(self, server: ServerSettings) -> None:
        host, self._port = server.address
        self._host = _ANY.get(host, host)
        self._tls = None if server.certfile is None else _own_certificate(server.certfile)

    def get(self, path: str, **query: str) -> JsonValue:
        """What stands at a path below `/api/v1`.

        Raises:
            Refused: The status is not 200.
            CommandFailed: The node does not answer.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        return self._ask("GET", target, None, 200)

    def post(self, transaction: bytes) -> None:
        """Submit a transaction and wait for its block; errors as `get`."""
        self._ask("POST", "/transactions?mode=commit", transaction, 202)

    def health(self) -> tuple[bool, str] | None:
        """Whether the node takes transactions, and its words about that; None where it does not answer."""
        connection = self._connection()
        try:
            connection.request("GET", "/health/ready")
            document: JsonObject = json.loads(connection.getresponse().read())
            return bool(document["ready"]), str(document["detail"])
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return None
        finally:
            connection.close()

    def _ask(self, method: str, target: str, body: bytes | None, expected: int) -> JsonValue:
        connection = self._connection()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, _PREFIX + target, body, headers)
            response = connection.getresponse()
            status, text = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandFailed(
                f"The node does not answer at {self._host}:{self._port} ({error or type(error).__name__}). Start "
                "it, or name the address of its Web API: server.bind (PLANETMINT_SERVER_BIND)."
            ) from None
        finally:
            connection.close()
        if status != expected:
            raise Refused(status, _message(text))
        try:
            return cast(JsonValue, json.loads(text))
        except ValueError:
            raise CommandFailed(f"What answers at {self._host}:{self._port} is no node.") from None

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        return http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT, context=self._tls)


def _own_certificate(certfile: str) -> ssl.SSLContext:
    """Trust the node's own certificate and no other; the name in it is that of the outside."""
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        context.load_verify_locations(certfile)
    except (OSError, ssl.SSLError) as error:
        raise CommandFailed(f"server.certfile: `{certfile}` cannot be used ({error}).") from None
    # The file may begin with a certificate that is not the root of its chain.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _message(text: bytes) -> str:
    try:
        document: JsonObject = json.loads(text)
        return str(document["message"])
    except (ValueError, KeyError, TypeError):
        return text.decode("utf-8", "replace")[:200] or "no reason was given"
