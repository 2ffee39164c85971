# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where messages go and what they look like: cli-and-config 3.3."""

import io
import logging
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest
import structlog

from planetmint.runtime.logging import ROTATE_BYTES, ROTATE_FILES, setup_logging
from planetmint.runtime.settings import ConfigurationError, LogSettings, ServerSettings, Settings

FORM = "[%(levelname)s] (%(name)s) %(message)s"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Puts logging back as it was: it is one for the whole process."""
    root = logging.getLogger()
    handlers, level, levels = root.handlers[:], root.level, {}
    root.handlers = []
    names = ["uvicorn", "asynctnt", "chatty", "chatty.child"]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = handlers, level
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    structlog.reset_defaults()


def logged(log: LogSettings, server: ServerSettings | None = None) -> io.StringIO:
    console = io.StringIO()
    setup_logging(Settings(log=log, server=server or ServerSettings()), console)
    return console


def test_cli_3_3_a_message_is_one_line_of_the_configured_form_with_its_fields() -> None:
    console = logged(LogSettings(fmt_console=FORM))
    structlog.get_logger("planetmint.test").info("a block was stored", height=4, note="two words")
    assert console.getvalue() == "[INFO] (planetmint.test) a block was stored height=4 note='two words'\n"


def test_cli_3_3_the_default_form_shows_time_level_name_and_process() -> None:
    console = logged(LogSettings())
    structlog.get_logger("planetmint.test").warning("hello %s", "you")
    line = console.getvalue()
    assert "[WARNING] (planetmint.test) hello you (MainProcess" in line
    assert line.startswith("[20")


def test_cli_3_3_messages_of_libraries_take_the_same_way() -> None:
    console = logged(LogSettings(fmt_console=FORM))
    logging.getLogger("somebody.else").error("oh: %s", "dear")
    assert console.getvalue() == "[ERROR] (somebody.else) oh: dear\n"


def test_line_breaks_in_what_others_sent_make_no_lines_of_ours() -> None:
    console = logged(LogSettings(fmt_console=FORM))
    structlog.get_logger("x").info("bad\n[INFO] (x) forged", name="a\nb")
    assert console.getvalue().count("\n") == 1


def test_an_exception_keeps_its_traceback() -> None:
    console = logged(LogSettings(fmt_console=FORM))
    try:
        raise KeyError("missing")
    except KeyError:
        structlog.get_logger("x").exception("failed")
    assert "Traceback" in console.getvalue()
    assert "KeyError" in console.getvalue()


@pytest.mark.parametrize(("granular", "shown"), [({}, False), ({"asynctnt": "warning"}, True)])
def test_attempts_to_reach_a_starting_database_are_shown_on_request_only(
    granular: dict[str, str], shown: bool
) -> None:
    console = logged(LogSettings(fmt_console=FORM, granular_levels=granular))  # type: ignore[arg-type]
    logging.getLogger("asynctnt").error("Authorization failed")
    assert ("Authorization failed" in console.getvalue()) is shown


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("error", 1)])
def test_cli_3_3_the_console_shows_its_level_and_above(level: str, lines: int) -> None:
    console = logged(LogSettings(fmt_console=FORM, level_console=level))  # type: ignore[arg-type]
    log = structlog.get_logger("x")
    for message in (log.debug, log.info, log.warning, log.error):
        message("message")
    assert console.getvalue().count("\n") == lines


def test_cli_3_2_granular_levels_hold_for_a_logger_and_those_below_it() -> None:
    console = logged(LogSettings(fmt_console=FORM, granular_levels={"chatty": "error", "chatty.child": "debug"}))
    structlog.get_logger("chatty").warning("no")
    structlog.get_logger("chatty.other").warning("no")
    structlog.get_logger("chatty.child.deep").debug("yes")
    structlog.get_logger("quiet").debug("no")
    assert console.getvalue() == "[DEBUG] (chatty.child.deep) yes\n"


def test_cli_3_3_the_web_server_has_its_own_level() -> None:
    console = logged(LogSettings(fmt_console=FORM), ServerSettings(loglevel="error"))
    logging.getLogger("uvicorn.error").warning("no")
    logging.getLogger("uvicorn.error").error("yes")
    assert console.getvalue() == "[ERROR] (uvicorn.error) yes\n"


def test_cli_3_3_without_file_settings_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    logged(LogSettings())
    structlog.get_logger("x").error("message")
    assert list(tmp_path.iterdir()) == []


def test_cli_3_3_files_get_their_levels_and_rotate(tmp_path: Path) -> None:
    log, errors = tmp_path / "node.log", tmp_path / "errors.log"
    logged(LogSettings(file=str(log), error_file=str(errors), level_logfile="warning", fmt_logfile=FORM))
    logger = structlog.get_logger("x")
    logger.info("one")
    logger.warning("two")
    logger.error("three")
    assert log.read_text() == "[WARNING] (x) two\n[ERROR] (x) three\n"
    assert errors.read_text() == "[ERROR] (x) three\n"
    rotating = [handler for handler in logging.getLogger().handlers if isinstance(handler, RotatingFileHandler)]
    assert [(one.maxBytes, one.backupCount) for one in rotating] == [(ROTATE_BYTES, ROTATE_FILES)] * 2
    assert (ROTATE_BYTES, ROTATE_FILES) == (209_715_200, 5)


def test_cli_3_3_an_old_log_file_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "node.log"
    path.write_text("before\n")
    logged(LogSettings(file=str(path), fmt_logfile=FORM))
    structlog.get_logger("x").info("after")
    assert path.read_text() == "before\n[INFO] (x) after\n"


def test_cli_3_3_a_file_that_cannot_be_written_is_left_out_with_a_warning(tmp_path: Path) -> None:
    console = logged(LogSettings(file=str(tmp_path / "nowhere" / "node.log"), fmt_console=FORM))
    assert console.getvalue().startswith("[WARNING] (planetmint.runtime.logging) Cannot write log.file")
    structlog.get_logger("x").info("goes on")
    assert "goes on" in console.getvalue()


class FullDisk(io.StringIO):
    """A stream that takes nothing more."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_below_the_log_is_said_once_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(LogSettings(file=str(tmp_path / "node.log")))
    (handler,) = (one for one in logging.getLogger().handlers if isinstance(one, RotatingFileHandler))
    handler.stream = FullDisk()
    for _ in range(3):
        structlog.get_logger("x").info("message")
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("form", ["%(nonsense)s", "%(message)", "no fields"])
def test_a_form_that_logging_cannot_use_is_refused_with_the_setting(form: str) -> None:
    with pytest.raises(ConfigurationError, match=r"log\.fmt_console"):
        logged(LogSettings(fmt_console=form))


def test_logging_can_be_set_up_again_without_doubling_lines() -> None:
    logged(LogSettings(fmt_console=FORM))
    console = logged(LogSettings(fmt_console=FORM))
    structlog.get_logger("x").info("once")
    assert console.getvalue() == "[INFO] (x) once\n"
