# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Web API: `create_app` builds the ASGI application, `HttpServer` listens for it.

An edge: it parses a request, asks the application or the store, renders an answer, and decides nothing else.
Source: http-api.
"""

from planetmint.http.app import create_app
from planetmint.http.server import HttpServer
from planetmint.http.settings import HttpSettings

__all__ = ["HttpServer", "HttpSettings", "create_app"]
