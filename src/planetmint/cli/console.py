# SPDX-License-Identifier: AGPL-3.0-or-later
"""What commands print and ask: results on stdout, everything else on stderr (cli-and-config 1)."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from planetmint.model.json import JsonValue


def keep_stdout_clean() -> None:
    """Send to stderr what parts of the node have to warn of during a command; `start` sets its own log up."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


class CommandFailed(Exception):
    """A command could not do its work; the message is one line for the operator."""


def show(text: str) -> None:
    """Print a result."""
    print(text)  # noqa: T201 - this is what stdout is for


def show_json(value: JsonValue) -> None:
    """Print a result as JSON: indent 4, keys sorted."""
    show(json.dumps(value, indent=4, sort_keys=True))


def say(text: str) -> None:
    """Print information, a warning or an error."""
    print(text, file=sys.stderr)  # noqa: T201


def warn(texts: Sequence[str]) -> None:
    """Print warnings, one line each."""
    for text in texts:
        say(f"Warning: {text}")


def ask(question: str) -> str:
    """Print a question and return the answer without surrounding blanks; empty for just Enter.

    Raises:
        CommandFailed: Nobody is there to answer.
    """
    print(question, end=" ", file=sys.stderr, flush=True)  # noqa: T201
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer:
        say("")
        raise CommandFailed("Nobody answers on standard input. `planetmint -y ...` asks nothing.")
    return answer.strip()


def read_file(path: Path) -> bytes:
    """What a file holds that an operator names; `-` is standard input. Raises CommandFailed."""
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise CommandFailed(f"Cannot read `{path}`: {error.strerror}.") from None
