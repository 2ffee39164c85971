# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rules about names and languages inside object values of asset data and metadata.

They come from the document database of the 2.0 servers and hold wherever a value is an object, through
lists too. Source: transactions 2.4; texts in validation 3.1.
"""

from planetmint.model.errors import ValidationError
from planetmint.model.json import JsonObject, JsonValue

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
        language = _check_object(value, name)
        if language is not None:
            raise language


def _check_object(value: JsonObject, name: str) -> ValidationError | None:
    """Raise at the first key that is not allowed; answer the first language that is not, which comes second."""
    refusal = None
    for key, item in value.items():
        if "." in key or "\x00" in key or key.startswith("$"):
            raise ValidationError(
                f'Invalid key name "{key[:80]}" in {name} object. The key name cannot contain characters '
                '".", "$" or null characters',
                rule="data.key",
                field=name,
            )
        below = _check_below(item, name)
        if key == "language":
            below = _check_language(item, name)
        refusal = refusal or below
    return refusal


def _check_below(value: JsonValue, name: str) -> ValidationError | None:
    if isinstance(value, dict):
        return _check_object(value, name)
    if not isinstance(value, list):
        return None
    refusals = [_check_below(item, name) for item in value]
    return next((refusal for refusal in refusals if refusal is not None), None)


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
