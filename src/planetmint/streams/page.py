# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo page of the stream port: one static document that needs nothing from elsewhere (ES-30)."""

import base64
import hashlib
import re
from importlib.resources import files

BODY = files(__package__).joinpath("demo.html").read_bytes()
"""The page as it is sent."""


def _hashes(tag: str) -> str:
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), BODY, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(block).digest()).decode()}'" for block in blocks)


HEADERS = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; "
        "connect-src ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)
"""What is sent with it; the hashes let exactly its own script and style run."""
