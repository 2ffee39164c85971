# SPDX-License-Identifier: AGPL-3.0-or-later
"""The validator's key: the engine's file format, made once, private, and never replaced silently (D19)."""

import base64
import json
import stat
from hashlib import sha256
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from planetmint.runtime.keys import KEY_FILE, load_key, load_or_make_key
from planetmint.runtime.settings import ConfigurationError


def document(path: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((path / KEY_FILE).read_text())
    return found


def test_a_key_is_made_once_and_then_kept(tmp_path: Path) -> None:
    key = load_or_make_key(tmp_path)
    assert load_or_make_key(tmp_path) == key == load_key(tmp_path)
    assert len(key.secret) == 64
    assert bytes(SigningKey(key.secret[:32]).verify_key) == key.public


def test_two_folders_have_different_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert load_or_make_key(tmp_path / "a") != load_or_make_key(tmp_path / "b")


def test_the_file_is_the_engines_and_for_its_owner_only(tmp_path: Path) -> None:
    key = load_or_make_key(tmp_path)
    found = document(tmp_path)
    assert found["address"] == sha256(key.public).hexdigest()[:40].upper()
    assert found["pub_key"] == {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(key.public).decode()}
    assert found["priv_key"] == {
        "type": "tendermint/PrivKeyEd25519",
        "value": base64.b64encode(key.secret).decode(),
    }
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_half_a_file_of_a_crash_before_is_no_key(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).with_suffix(".part").write_text('{"priv_key": {"va')
    key = load_or_make_key(tmp_path)
    assert load_key(tmp_path) == key


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is missing"):
        load_key(tmp_path)
    assert list(tmp_path.iterdir()) == []


def damaged(value: object) -> str:
    return json.dumps({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": value}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "null",
        "[]",
        "{}",
        '{"priv_key": null}',
        '{"priv_key": "text"}',
        damaged(None),
        damaged(7),
        damaged(""),
        damaged("?" * 88),
        damaged(base64.b64encode(b"\1" * 32).decode()),
        damaged(base64.b64encode(b"\1" * 64).decode()),
        "\udcff",
    ],
)
def test_a_file_without_a_key_is_said_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(text, errors="surrogateescape")
    before = path.read_bytes()
    for load in (load_key, load_or_make_key):
        with pytest.raises(ConfigurationError, match="holds no validator key"):
            load(tmp_path)
    assert path.read_bytes() == before
