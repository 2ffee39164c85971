# SPDX-License-Identifier: AGPL-3.0-or-later
"""The engine as commands ask it: over its RPC, at the address that the settings name, without a proxy."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from planetmint.runtime.services import engine_rpc
from planetmint.runtime.settings import Settings

_TIMEOUT = 3.0


def ask_engine(settings: Settings, method: str, **arguments: int) -> Mapping[str, Any]:
    """The result of a method, as it stands in the engine's JSON.

    Raises:
        OSError, ValueError, LookupError, TypeError: It does not answer, or something else than an engine does.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    query = f"?{urlencode(arguments)}" if arguments else ""
    with opener.open(f"{engine_rpc(settings)}/{method}{query}", timeout=_TIMEOUT) as answer:
        result: Mapping[str, Any] = json.load(answer)["result"]
        return result
