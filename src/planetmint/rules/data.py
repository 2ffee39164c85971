# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rules about names and languages inside object values of asset data and metadata.

They come from the document database of the 2.0 servers and hold wherever a value is an object, through
lists too. Source: transactions 2.4; texts in validation 3.1.
"""

from planetmint.model.errors import ValidationError
from planetmint.model.json import JsonValue

_NAMES = (
    "danish dutch english finnish french german hungarian italian norwegian portuguese romanian russian spanish "
    "swedish turkish none da nl en fi fr de hu it nb pt ro ru es sv tr"
)
LANGUAGES = frozenset(_NAMES.split(" "))


def check_data(value: JsonValue, name: str) -> None:
    """Hold an object value against the key rule, then against the language rule.

    Args:
        value: Asset data or metadata; nothing is checked unless it is an object.
        name: ``asset`` or ``metadata``, for the message.

    Raises:
        ValidationError: A key or a language that is not allowed.
    """
    if not isinstance(value, dict):
        return
    language = None
    # A list of what is left, not recursion: the interpreter's limit must never be met, however deep the stack is.
    waiting: list[JsonValue] = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(item for item in reversed(node) if isinstance(item, (dict, list)))
        elif isinstance(node, dict):
            for key, item in node.items():
                _check_key(key, name)
                if key == "language":
                    language = language or _check_language(item, name)
                if isinstance(item, (dict, list)):
                    waiting.append(item)
    if language is not None:
        raise language


def _check_key(key: str, name: str) -> None:
    if "." in key or "\x00" in key or key.startswith("$"):
        raise ValidationError(
            f'Invalid key name "{key[:80]}" in {name} object. The key name cannot contain characters '
            '".", "$" or null characters',
            rule="data.key",
            field=name,
        )


def _check_language(value: JsonValue, name: str) -> ValidationError | None:
    if isinstance(value, str) and value in LANGUAGES:
        return None
    shown = value[:80] if isinstance(value, str) else type(value).__name__
    return ValidationError(
        f'MongoDB does not support text search for the language "{shown}". If you do not understand this error '
        'message then please rename key/field "language" to something else like "lang".',
        rule="data.language",
        field=name,
    )
