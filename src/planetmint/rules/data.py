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
    if isinstance(value, dict):
        _check_keys(value, name)
        _check_languages(value, name)


def _check_keys(value: JsonValue, name: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_keys(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key.startswith("$") or "." in key or "\x00" in key:
                raise ValidationError(
                    f'Invalid key name "{key[:80]}" in {name} object. The key name cannot contain characters '
                    '".", "$" or null characters',
                    rule="data.key",
                    field=name,
                )
            _check_keys(item, name)


def _check_languages(value: JsonValue, name: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_languages(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "language":
                _check_language(item, name)
            else:
                _check_languages(item, name)


def _check_language(value: JsonValue, name: str) -> None:
    if isinstance(value, str) and value in LANGUAGES:
        return
    shown = value[:80] if isinstance(value, str) else type(value).__name__
    raise ValidationError(
        f'MongoDB does not support text search for the language "{shown}". If you do not understand this error '
        'message then please rename key/field "language" to something else like "lang".',
        rule="data.language",
        field=name,
    )
