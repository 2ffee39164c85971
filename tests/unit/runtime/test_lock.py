# SPDX-License-Identifier: AGPL-3.0-or-later
"""One process at a time in a data folder."""

import os
from pathlib import Path

import pytest

from planetmint.runtime.lock import LOCK_FILE, data_folder
from planetmint.runtime.settings import ConfigurationError


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "node"
    with data_folder(folder) as given:
        assert given == folder
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_second_user_of_the_folder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with data_folder(tmp_path), pytest.raises(ConfigurationError) as caught, data_folder(tmp_path):
        pass
    assert str(os.getpid()) in str(caught.value)
    assert "PLANETMINT_DATA_DIR" in str(caught.value)


def test_the_folder_is_free_again_afterwards_also_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="failed"), data_folder(tmp_path):
        raise ValueError("failed")
    with data_folder(tmp_path):
        pass


def test_a_lock_file_that_a_dead_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("999999\n")
    with data_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_be_made_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="PLANETMINT_DATA_DIR"), data_folder(tmp_path / "file" / "node"):
        pass
