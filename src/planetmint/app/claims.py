# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a text that is no transaction says of itself."""

from planetmint.model import json
from planetmint.model.errors import SchemaValidationError

_LONGEST_ID = 64


def claimed_id(text: bytes) -> str | None:
    """The id that stands in a text which was refused; None where it shows none."""
    try:
        value = json.parse(text, max_depth=400, max_digits=308)
    except SchemaValidationError:
        return None
    claimed = value.get("id") if isinstance(value, dict) else None
    return claimed if isinstance(claimed, str) and len(claimed) <= _LONGEST_ID else None
