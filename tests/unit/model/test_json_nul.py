# SPDX-License-Identifier: AGPL-3.0-or-later
"""A NUL character is no part of JSON text, although the parser underneath would stop reading there."""

import pytest

from planetmint.model import json
from planetmint.model.errors import SchemaValidationError


@pytest.mark.parametrize("text", [b"{}\x00", b'{"a":1}\x00 and what follows', b"\x00{}", b'"a\x00b"', b"\x00"])
def test_text_with_a_nul_character_is_not_json(text: bytes) -> None:
    with pytest.raises(SchemaValidationError) as caught:
        json.parse(text, max_depth=10, max_digits=10)
    assert caught.value.rule == json.NOT_JSON


def test_escaped_nul_character_is_a_character() -> None:
    assert json.parse(rb'{"a": "x\u0000y"}', max_depth=10, max_digits=10) == {"a": "x\x00y"}
