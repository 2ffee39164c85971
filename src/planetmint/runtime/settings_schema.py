# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the fields of the settings look like from outside: their type in words, and how text becomes a value.

The environment, the file, the prompts of `configure` and the generated reference all go through here, so that one
field's declaration decides for all of them.
"""

import json
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from planetmint.model.json import JsonValue
from planetmint.runtime.settings import (
    LEVEL_ALIASES,
    AbciSettings,
    ApiSettings,
    ChainSettings,
    ConsensusSettings,
    DataSettings,
    LogSettings,
    SandboxSettings,
    ServerSettings,
    SqliteSettings,
    TarantoolSettings,
    TendermintSettings,
    WsServerSettings,
)

PREFIX = "PLANETMINT"
"""First word of every environment variable of the node."""

SECTIONS: dict[str, type[Struct]] = {
    "server": ServerSettings,
    "wsserver": WsServerSettings,
    "tendermint": TendermintSettings,
    "log": LogSettings,
    "api": ApiSettings,
    "abci": AbciSettings,
    "data": DataSettings,
    "consensus": ConsensusSettings,
    "contracts": SandboxSettings,
    "chain": ChainSettings,
}
"""Every section but `database`, whose fields depend on its backend."""

BACKENDS: dict[str, type[Struct]] = {"sqlite": SqliteSettings, "tarantool_db": TarantoolSettings}
"""The `database` section by backend."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_NULL = frozenset({"", "null"})


class UnfitValue(ValueError):
    """A value that a setting cannot have; the text says what it must be."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a section.

    Attributes:
        path: Section and keys, `("server", "bind")`.
        annotation: As declared; what msgspec checks values against.
        base: bool, int, float, str, list or dict.
        choices: The allowed texts; empty where any text will do.
        nullable: Whether null is a value.
        form: What a value must be, in words.
        description: What the setting does.
        default: As JSON; None also where it depends on the machine.
    """

    path: tuple[str, ...]
    annotation: object
    base: type
    choices: tuple[str, ...]
    nullable: bool
    form: str
    description: str
    default: JsonValue

    @property
    def name(self) -> str:
        """As written in documents: `server.bind`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "_".join((PREFIX, *self.path)).upper()

    @property
    def secret(self) -> bool:
        """Whether its value must not be shown."""
        return self.path[-1] == "password"


def settings_of(section: type[Struct], path: tuple[str, ...]) -> list[Setting]:
    """The settings of a section in declared order, those of nested sections included."""
    hints = get_type_hints(section, include_extras=True)
    found: list[Setting] = []
    for item in msgspec.structs.fields(section):
        annotation = hints[item.name]
        here = (*path, item.name)
        if is_section(annotation):
            found += settings_of(annotation, here)
        else:
            found.append(_setting(here, annotation, item))
    return found


def is_section(annotation: object) -> bool:
    """Whether a field holds further fields."""
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def from_text(setting: Setting, text: str) -> object:
    """The value that a text of the environment or of an operator stands for.

    Words for bool are true/false, yes/no, on/off, 1/0; a list is split at `:`; `null` or nothing is null where the
    setting has it. Source: cli-and-config 3.1.

    Raises:
        UnfitValue: The text is no such value.
    """
    if setting.nullable and text.strip().lower() in _NULL:
        return None
    value = _parsed(setting, text)
    try:
        return _fit(setting, value)
    except UnfitValue:
        raise _unfit(setting, text) from None


def from_json(setting: Setting, value: object) -> object:
    """The value that a member of the configuration file stands for; numbers written as text are taken.

    Raises:
        UnfitValue: It is no such value.
    """
    if isinstance(value, str) and setting.base in (bool, int, float):
        return from_text(setting, value)
    return _fit(setting, value)


def _parsed(setting: Setting, text: str) -> object:
    match setting.base.__name__:
        case "bool":
            return _truth(setting, text)
        case "int":
            return _number(setting, text, int)
        case "float":
            return _number(setting, text, float)
        case "list":
            return text.split(":")
        case "dict":
            return dict(_pair(setting, item) for item in text.split(":") if item)
    return text


def _truth(setting: Setting, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise _unfit(setting, text)
    return word in _TRUE


def _number(setting: Setting, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text.strip())
    except ValueError:
        raise _unfit(setting, text) from None


def _pair(setting: Setting, item: str) -> tuple[str, str]:
    name, separator, value = item.partition("=")
    if not (name and separator):
        raise _unfit(setting, item)
    return name, value


def _fit(setting: Setting, value: object) -> object:
    try:
        return msgspec.convert(_lowered(setting, value), setting.annotation)
    except msgspec.ValidationError:
        raise _unfit(setting, value) from None


def _lowered(setting: Setting, value: object) -> object:
    if isinstance(value, dict):
        return {name: _lowered(setting, item) for name, item in value.items()}
    if not setting.choices or not isinstance(value, str):
        return value
    word = value.lower()
    return LEVEL_ALIASES.get(word, word)


def _unfit(setting: Setting, value: object) -> UnfitValue:
    if value == "":
        return UnfitValue(f"must be {setting.form}, not empty")
    shown = "" if setting.secret else f", not `{_shorten(value)}`"
    return UnfitValue(f"must be {setting.form}{shown}")


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _setting(path: tuple[str, ...], annotation: object, item: msgspec.structs.FieldInfo) -> Setting:
    kind, metas = _peel(annotation)
    nullable = False
    if get_origin(kind) in (Union, types.UnionType):
        inner = [part for part in get_args(kind) if part is not types.NoneType]
        nullable = True
        kind, more = _peel(inner[0])
        metas = [*metas, *more]
    choices = _choices(kind)
    base = get_origin(kind) or kind
    if base is Literal:
        base = str
    return Setting(
        path=path,
        annotation=annotation,
        base=base if isinstance(base, type) else str,
        choices=choices,
        nullable=nullable,
        form=_form(base, choices, metas) + (" or null" if nullable else ""),
        description=next((meta.description for meta in metas if meta.description), ""),
        default=item.default if item.default is not msgspec.NODEFAULT else ({} if base is dict else None),
    )


def _peel(annotation: object) -> tuple[object, list[Meta]]:
    metas: list[Meta] = []
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metas += [meta for meta in more if isinstance(meta, Meta)]
    return annotation, metas


def _choices(kind: object) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) is dict:
        return _choices(get_args(kind)[1])
    return ()


def _form(base: object, choices: Sequence[str], metas: Sequence[Meta]) -> str:
    title = next((meta.title for meta in metas if meta.title), None)
    if title is not None:
        return title
    if base is dict:
        return "names with one of " + ", ".join(choices)
    if choices:
        return " or ".join(choices) if len(choices) < 3 else "one of " + ", ".join(choices)
    if base is bool:
        return "true or false"
    if base is int:
        return "a whole number" + _range(metas)
    if base is float:
        return "a number" + _range(metas)
    if base is list:
        return "a list"
    return "text"


def _range(metas: Sequence[Meta]) -> str:
    least = next((meta.ge for meta in metas if meta.ge is not None), None)
    above = next((meta.gt for meta in metas if meta.gt is not None), None)
    most = next((meta.le for meta in metas if meta.le is not None), None)
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if above is not None and most is not None:
        return f" above {above}, at most {most}"
    return f" of {least} or more" if least is not None else ""
