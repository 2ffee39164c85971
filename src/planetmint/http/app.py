# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ASGI application: the hot route by itself, all others by a router over the table of routes."""

import re
from collections.abc import Mapping
from time import perf_counter

from prometheus_client import CollectorRegistry
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from planetmint.app.application import Application
from planetmint.http.answers import NOT_FOUND, UNKNOWN_PATH, Answer, method_not_allowed, preflight, send_answer
from planetmint.http.arguments import ArgumentError, Arguments
from planetmint.http.errors import NODE_ERRORS
from planetmint.http.failures import Failures
from planetmint.http.metrics import UNMATCHED, Metrics
from planetmint.http.query import Node, Query
from planetmint.http.roots import API
from planetmint.http.routes import ROUTES, RouteSpec
from planetmint.http.settings import HttpSettings
from planetmint.http.submit import ROUTE as SUBMIT_ROUTE
from planetmint.http.submit import Submit

_SLASHES = re.compile("/{2,}")
_SUBMIT_PATHS = frozenset({SUBMIT_ROUTE, SUBMIT_ROUTE + "/"})
_COUNTED_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"})


class _Digits(Convertor[str]):
    """A path part of decimal digits, left as text: it may be longer than any number."""

    regex = "[0-9]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("digits", _Digits())


class _ExactRoute(Route):
    """A route that takes the whole path: the router's own patterns leave a line feed at the end unseen."""

    def __init__(self, path: str, endpoint: ASGIApp) -> None:
        super().__init__(path, endpoint)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z")


def create_app(
    application: Application, settings: HttpSettings, registry: CollectorRegistry | None = None
) -> ASGIApp:
    """Build the Web API.

    Args:
        application: The node.
        settings: Bounds and texts.
        registry: What `/metrics` shows; the API's own figures are added to it.
    """
    node = Node(application, settings, Metrics(registry or CollectorRegistry()), Failures())
    submit = Submit(node)
    routes = [_ExactRoute(spec.path, _Endpoint(node, spec, submit)) for spec in ROUTES]
    router = Router(routes, default=_Unknown(node), redirect_slashes=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if scope["method"] == "POST" and path in _SUBMIT_PATHS:
                await submit(scope, receive, send)
                return
            scope["path"] = _normal(path)
        await router(scope, receive, send)

    return app


def _normal(path: str) -> str:
    """One form for the paths that mean the same: single slashes, none at the end (http-api 2.4)."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path[:-1] if path.endswith("/") and path != "/" else path


class _Endpoint:
    """One route: picks what to do by the method, and turns errors into answers."""

    def __init__(self, node: Node, spec: RouteSpec, submit: Submit) -> None:
        self._node = node
        self._spec = spec
        self._route = spec.path.replace(":digits", "")
        self._submit = submit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "POST" and self._spec.post_parameters is not None:
            await self._submit(scope, receive, send)
            return
        begun = perf_counter()
        answer = await self._answer(scope, method)
        await send_answer(scope, send, answer)
        self._node.metrics.count(self._route, _counted(method), answer.status, perf_counter() - begun)

    async def _answer(self, scope: Scope, method: str) -> Answer:
        if method == "OPTIONS":
            return preflight(dict(scope["headers"]), self._spec.allow)
        if method not in ("GET", "HEAD"):
            return method_not_allowed(self._spec.allow)
        try:
            return await self._spec.read(self._node, self._query(scope))
        except ArgumentError as error:
            return error.answer()
        except NODE_ERRORS as error:
            return self._node.failures.answer(error)
        except Exception as error:  # noqa: BLE001 - the edge's last resort: logged, answered without details
            return self._node.failures.unexpected(error, self._route)

    def _query(self, scope: Scope) -> Query:
        query: bytes = scope["query_string"]
        path: Mapping[str, str] = scope["path_params"]
        return Query(self._route, scope.get("raw_path") or b"", query, path, Arguments(query))


class _Unknown:
    """Paths that no route has: JSON below the API's root, a page elsewhere (http-api 2.2)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = perf_counter()
        answer = NOT_FOUND if scope["path"].startswith(API + "/") else UNKNOWN_PATH
        await send_answer(scope, send, answer)
        self._node.metrics.count(UNMATCHED, _counted(scope["method"]), answer.status, perf_counter() - begun)


def _counted(method: str) -> str:
    return method if method in _COUNTED_METHODS else "other"
