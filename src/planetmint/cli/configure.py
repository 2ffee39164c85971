# SPDX-License-Identifier: AGPL-3.0-or-later
"""The command `configure`: ask for the few settings that matter and write the configuration file.

What is written depends on the answers and the defaults alone: neither an older file nor the environment leaks in.
Source: cli-and-config 2.1.
"""

import json
import os
import stat
from pathlib import Path
from typing import Literal, NamedTuple, cast

from planetmint.cli.console import CommandFailed, ask, say, show_json
from planetmint.model.json import JsonValue
from planetmint.runtime.settings import ConsensusSettings, Settings, SqliteSettings, TarantoolSettings
from planetmint.runtime.settings_schema import BACKENDS, SECTIONS, Setting, UnfitValue, from_text, settings_of

STDOUT = "-"
"""In place of a path: print the file instead of writing it."""

Backend = Literal["sqlite", "tarantool_db"]
Document = dict[str, JsonValue]

_EVERY_INTERFACE = frozenset({"0.0.0.0", "::"})


class Question(NamedTuple):
    """One prompt: what is asked, and the setting that the answer goes to."""

    text: str
    section: str
    key: str
    end: str = ":"


_BEFORE = (
    Question("API Server bind?", "server", "bind"),
    Question("WebSocket Server scheme?", "wsserver", "scheme"),
    Question("WebSocket Server host?", "wsserver", "host"),
    Question("WebSocket Server port?", "wsserver", "port"),
)
_DATABASE = (Question("Database host?", "database", "host"), Question("Database port?", "database", "port"))
_AFTER = (
    Question("Tendermint host?", "tendermint", "host", ""),
    Question("Tendermint port?", "tendermint", "port", ""),
)

QUESTIONS: dict[Backend, tuple[Question, ...]] = {
    "sqlite": (*_BEFORE, *_AFTER),
    "tarantool_db": (*_BEFORE, *_DATABASE, *_AFTER),
}
"""What is asked, in order; a database that is a file has no host and port."""


def configure(backend: Backend, target: Path | None, *, assume_yes: bool) -> None:
    """Ask, and write the file.

    Args:
        backend: Whose settings the section `database` gets.
        target: The file; None for stdout.
        assume_yes: Ask nothing: replace the file, take the defaults.

    Raises:
        CommandFailed: The file cannot be written, or nobody answers.
    """
    if target is not None and not assume_yes and not _may_write(target):
        return
    say(f"Generating default configuration for backend {backend}")
    document = defaults(backend)
    if not assume_yes:
        for question in QUESTIONS[backend]:
            _put(document, question, _answer(backend, question))
        _advertise(document)
    if target is None:
        show_json(document)
    else:
        _write(target, json.dumps(document, indent=4, sort_keys=True) + "\n")
    say(f"Configuration written to {STDOUT if target is None else target}")
    say("Ready to go!")


def defaults(backend: Backend) -> Document:
    """The settings of a fresh installation with this backend, as they stand in a file."""
    if backend == "sqlite":
        return Settings(database=SqliteSettings(), consensus=ConsensusSettings(engine="solo")).to_json()
    return Settings(database=TarantoolSettings(), consensus=ConsensusSettings(engine="cometbft")).to_json()


def _may_write(target: Path) -> bool:
    if not target.exists():
        return True
    question = f"Config file `{target}` exists, do you want to override it? (cannot be undone) [y/N]:"
    return ask(question) == "y"


def _answer(backend: Backend, question: Question) -> JsonValue:
    setting = _setting(backend, question)
    while True:
        text = ask(f"{question.text} (default `{setting.default}`){question.end}")
        if not text:
            return setting.default
        try:
            return cast(JsonValue, from_text(setting, text))
        except UnfitValue as error:
            say(f"The answer {error}.")


def _setting(backend: Backend, question: Question) -> Setting:
    section = BACKENDS[backend] if question.section == "database" else SECTIONS[question.section]
    path = (question.section, question.key)
    return next(setting for setting in settings_of(section, path[:1]) if setting.path == path)


def _put(document: Document, question: Question, value: JsonValue) -> None:
    cast(Document, document[question.section])[question.key] = value


def _advertise(document: Document) -> None:
    """Let clients be told what was answered; only an address that is no one's stays `localhost`."""
    section = cast(Document, document["wsserver"])
    section["advertised_scheme"] = section["scheme"]
    section["advertised_port"] = section["port"]
    host = cast(str, section["host"])
    if host not in _EVERY_INTERFACE:
        section["advertised_host"] = f"[{host}]" if ":" in host else host


def _write(target: Path, text: str) -> None:
    # The file may hold a password: nobody else may read it, not even for a moment.
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.fchmod(handle, 0o600)
                os.ftruncate(handle, 0)
            file.write(text)
    except OSError as error:
        raise CommandFailed(
            f"Cannot write the configuration file `{target}`: {error.strerror}. Name another with -c."
        ) from None
