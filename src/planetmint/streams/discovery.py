# SPDX-License-Identifier: AGPL-3.0-or-later
"""The stream URLs that the Web API tells its clients."""

from planetmint.streams.catalogue import STREAMS

_ADVERTISED = {"streams": "valid_transactions", "streamedblocks": "valid_blocks"}
"""Key in the Web API's answer to the stream's name (ES-3, ES-7)."""


def advertised(scheme: str, host: str, port: int) -> dict[str, str]:
    """Full URLs by the keys `streams` and `streamedblocks`.

    Args:
        scheme: `ws` or `wss`.
        host: As clients reach it; an IPv6 address may come without its brackets.
        port: Always printed, also 80 and 443.

    Source: ES-4; made from settings only.
    """
    authority = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return {key: f"{scheme}://{authority}:{port}{STREAMS[name].path}" for key, name in _ADVERTISED.items()}
