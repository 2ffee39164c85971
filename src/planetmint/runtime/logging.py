# SPDX-License-Identifier: AGPL-3.0-or-later
"""Logging: structlog in front, Python's logging behind, so that libraries' messages take the same way.

The console is stderr; files are written only where settings name them. A message is one line of the configured
form, whatever it carries; transactions belong into messages of level DEBUG only. Source: cli-and-config 3.3.
"""

import logging
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from logging.handlers import RotatingFileHandler
from typing import TextIO

import structlog

from planetmint.runtime.settings import ConfigurationError, LogSettings, Settings

ROTATE_BYTES = 209_715_200
"""Size at which a log file is put aside."""

ROTATE_FILES = 5
"""Old log files that are kept."""

WEB_SERVER_LOGGER = "uvicorn"
"""Parent of the web server's loggers."""

DATABASE_LOGGER = "asynctnt"
"""Logger of the library that speaks to Tarantool. It shows each attempt to connect that fails, with a traceback,
also while a server starts; the store waits, tries again and says itself what it could not do."""

_log = structlog.stdlib.get_logger(__name__)


def setup_logging(settings: Settings, console: TextIO | None = None) -> None:
    """Send every message where the settings say; may be called again.

    A log file that cannot be written is left out with a warning.

    Args:
        settings: Sections `log` and `server` count.
        console: Stands in for stderr.

    Raises:
        ConfigurationError: A form of lines or times that logging cannot use.
    """
    log = settings.log
    levels = {name: _number(level) for name, level in log.granular_levels.items()}
    console_handler = _QuietStream(console or sys.stderr)
    console_handler.setFormatter(_formatter(log.fmt_console, log.datefmt_console, "log.fmt_console"))
    console_handler.addFilter(_Threshold(_number(log.level_console), levels))
    complaints: list[str] = []
    handlers: list[logging.Handler] = [console_handler, *_file_handlers(log, levels, complaints)]
    _install(handlers, min(_number(log.level_console), _number(log.level_logfile)))
    logging.getLogger(WEB_SERVER_LOGGER).setLevel(_number(settings.server.loglevel))
    logging.getLogger(DATABASE_LOGGER).setLevel(logging.CRITICAL)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _configure_structlog()
    for complaint in complaints:
        _log.warning(complaint)


def _install(handlers: list[logging.Handler], level: int) -> None:
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        root.addHandler(handler)
    # The handlers filter; below the least of their levels nobody needs to make a record at all.
    root.setLevel(level)


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            _render,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _render(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Make one line of an event and its fields: `a block was stored height=4 transactions=2`."""
    exc_info = event.pop("exc_info", None)
    message = _one_line(str(event.pop("event", "")))
    fields = [f"{name}={_value(value)}" for name, value in event.items()]
    return (" ".join([message, *fields]),), ({"exc_info": exc_info} if exc_info else {})


def _one_line(text: str) -> str:
    # What others sent may hold line breaks that would look like lines of ours.
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _value(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(" =\"'") else repr(text)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _formatter(form: str, date_form: str, name: str) -> logging.Formatter:
    try:
        formatter = logging.Formatter(form, date_form)
        formatter.format(logging.LogRecord("planetmint", logging.INFO, "", 0, "", None, None))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{name} is no form of a log line ({error}); the default is a good example."
        ) from None
    return formatter


def _file_handlers(
    log: LogSettings, levels: Mapping[str, int], complaints: list[str]
) -> Iterator[logging.Handler]:
    wanted = (
        ("log.file", log.file, _Threshold(_number(log.level_logfile), levels)),
        ("log.error_file", log.error_file, _Threshold(logging.ERROR, {})),
    )
    formatter = _formatter(log.fmt_logfile, log.datefmt_logfile, "log.fmt_logfile")
    for name, path, threshold in wanted:
        if path is None:
            continue
        try:
            handler = _QuietFile(path, maxBytes=ROTATE_BYTES, backupCount=ROTATE_FILES, encoding="utf-8")
        except OSError as error:
            complaints.append(f"Cannot write {name} `{path}` ({error.strerror}): going on without it")
            continue
        handler.setFormatter(formatter)
        handler.addFilter(threshold)
        yield handler


class _Threshold(logging.Filter):
    """Lets through what is at or above a level, which may differ for single loggers and those below them."""

    def __init__(self, level: int, levels: Mapping[str, int]) -> None:
        super().__init__()
        self._level = level
        self._levels = dict(levels)

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._of(record.name)

    def _of(self, name: str) -> int:
        while name:
            if name in self._levels:
                return self._levels[name]
            name = name.rpartition(".")[0]
        return self._level


class _Quiet(logging.Handler):
    """A handler that says once that it cannot write, instead of a traceback for every message."""

    _complained = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        error = sys.exc_info()[1]
        if self._complained or not isinstance(error, OSError):
            return
        self._complained = True
        if sys.stderr is not None and getattr(self, "stream", None) is not sys.stderr:
            print(f"Messages are lost: cannot write the log ({error.strerror}).", file=sys.stderr)  # noqa: T201


class _QuietStream(_Quiet, logging.StreamHandler[TextIO]):
    pass


class _QuietFile(_Quiet, RotatingFileHandler):
    pass
