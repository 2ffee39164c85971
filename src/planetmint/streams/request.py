# SPDX-License-Identifier: AGPL-3.0-or-later
"""The HTTP side of the stream port: reads a request head and decides what it is answered.

Nothing here touches a socket. A head is at most 16 KiB; what is no request for a stream gets one answer with
`Connection: close`. Source: event-stream 1, RFC 6455 4.2.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote

from planetmint.model.json import JsonValue, canonical
from planetmint.streams import page
from planetmint.streams.catalogue import ROOT, STREAMS, Stream
from planetmint.streams.errors import BadParameter
from planetmint.streams.query import Wanted, parse_query

MAX_HEAD_BYTES = 16 * 1024
HEAD_END = b"\r\n\r\n"
RETRY_SECONDS = 5

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]{1,16384}) HTTP/1\.([01])")
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUES = re.compile(rb"[\0\r\n]")
_SLASHES = re.compile("/+")
_ALLOW = "GET, HEAD, OPTIONS"
_CORS = (("Access-Control-Allow-Origin", "*"),)

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A request head; header names in lower case, repeated headers joined by commas."""

    method: str
    path: str
    query: str
    minor_version: int
    headers: dict[str, str]

    def tokens(self, name: str) -> set[str]:
        """The comma-separated members of a header, in lower case."""
        return {token.strip().lower() for token in self.headers.get(name, "").split(",")}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer after which the connection is closed."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = ()

    def render(self, *, with_body: bool = True) -> bytes:
        """The answer as bytes; without its body for a HEAD request."""
        fields = [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("Connection", "Upgrade, close" if self.status is HTTPStatus.UPGRADE_REQUIRED else "close"),
            *_CORS,
            *self.headers,
        ]
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        head = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n{lines}\r\n".encode("latin-1")
        return head + self.body if with_body else head


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A handshake that may be granted.

    Attributes:
        answer: The 101 answer.
        wanted: What is to be streamed.
    """

    answer: bytes
    wanted: Wanted


class BadHead(Exception):
    """Not a request head; `answer` says so to the client."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status.phrase)
        self.answer = answer


def error_answer(status: HTTPStatus, message: JsonValue, headers: Headers = ()) -> Answer:
    """An error in the shape that the Web API has: `{"message": ..., "status": ...}`."""
    return Answer(status, canonical({"message": message, "status": status.value}), headers=headers)


def busy_answer() -> Answer:
    """There is no room for another subscriber."""
    return error_answer(
        HTTPStatus.SERVICE_UNAVAILABLE, "too many subscribers", (("Retry-After", str(RETRY_SECONDS)),)
    )


def bad_parameter_answer(error: BadParameter) -> Answer:
    """A query parameter is wrong (event-stream 6.1)."""
    return error_answer(HTTPStatus.BAD_REQUEST, {error.name: error.why})


def parse_head(head: bytes) -> Request:
    """Read a request head.

    Args:
        head: Up to, without, the empty line.

    Raises:
        BadHead: It is none.
    """
    first, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise BadHead(error_answer(HTTPStatus.BAD_REQUEST, "not an HTTP/1 request"))
    method, target, minor = (part.decode("ascii") for part in match.groups())
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _FIELD_NAME.fullmatch(raw_name) or _NOT_IN_VALUES.search(raw_value):
            raise BadHead(error_answer(HTTPStatus.BAD_REQUEST, "a header line cannot be read"))
        name, value = raw_name.decode("ascii").lower(), raw_value.strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    path, _, query = target.partition("#")[0].partition("?")
    return Request(method, _normal_path(path), query, int(minor), headers)


def _normal_path(target: str) -> str:
    if not target.startswith("/"):
        # The absolute form, which proxies use; the authority is of no interest.
        target = "/" + target.partition("://")[2].partition("/")[2]
    path = _SLASHES.sub("/", unquote(target))
    return path.rstrip("/") or "/"


def decide(request: Request, *, label: str, head: int, room: bool) -> Answer | Upgrade:
    """What a request is answered.

    Args:
        request: As parsed.
        label: Of the chain.
        head: Height of the newest block.
        room: Whether another subscriber may join.
    """
    stream = _stream(request.path)
    if stream is None and request.path != "/":
        return error_answer(HTTPStatus.NOT_FOUND, "Not found")
    if request.method == "OPTIONS":
        return _options_answer()
    if request.method not in ("GET", "HEAD"):
        message = "The method is not allowed for the requested URL."
        return error_answer(HTTPStatus.METHOD_NOT_ALLOWED, message, (("Allow", _ALLOW),))
    if stream is None:
        return Answer(HTTPStatus.OK, page.BODY, "text/html; charset=utf-8", page.HEADERS)
    refusal = _handshake_fault(request)
    if refusal is not None:
        return refusal
    if not room:
        return busy_answer()
    try:
        wanted = parse_query(request.query, stream, label, head)
    except BadParameter as error:
        return bad_parameter_answer(error)
    return Upgrade(_switching(request.headers["sec-websocket-key"]), wanted)


def _stream(path: str) -> Stream | None:
    return STREAMS.get(path.removeprefix(ROOT)) if path.startswith(ROOT) else None


def _options_answer() -> Answer:
    headers = (
        ("Allow", _ALLOW),
        ("Access-Control-Allow-Methods", _ALLOW),
        ("Access-Control-Allow-Headers", "*"),
        ("Access-Control-Max-Age", "86400"),
    )
    return Answer(HTTPStatus.OK, headers=headers)


def _handshake_fault(request: Request) -> Answer | None:
    """The answer to a request for a stream that is no WebSocket handshake; None where it is one."""
    is_upgrade = "websocket" in request.tokens("upgrade") and "upgrade" in request.tokens("connection")
    if not is_upgrade or request.method != "GET" or request.minor_version < 1:
        return _upgrade_required("this is a WebSocket stream: the request must ask for an upgrade")
    if request.headers.get("sec-websocket-version") != "13":
        return _upgrade_required("the WebSocket version must be 13")
    if not _is_key(request.headers.get("sec-websocket-key", "")):
        return error_answer(HTTPStatus.BAD_REQUEST, {"Sec-WebSocket-Key": "must be 16 bytes in base64"})
    return None


def _upgrade_required(message: str) -> Answer:
    headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
    return error_answer(HTTPStatus.UPGRADE_REQUIRED, message, headers)


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _switching(key: str) -> bytes:
    accept = base64.b64encode(hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + HEAD_END
    )
