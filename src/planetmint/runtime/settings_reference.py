# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes docs/configuration.md from the settings: `python -m planetmint.runtime.settings_reference`."""

import json
import sys
from collections.abc import Iterator

from msgspec import Struct

from planetmint.runtime.settings import SqliteSettings, TarantoolSettings
from planetmint.runtime.settings_schema import PREFIX, SECTIONS, Setting, settings_of

COMMAND = "python -m planetmint.runtime.settings_reference > docs/configuration.md"

_INTRODUCTION = f"""# Configuration

<!-- Made by `{COMMAND}`; change the declarations in src/planetmint/runtime/settings.py instead. -->

The node runs without any configuration. `planetmint show-config` prints what is in effect.

## Where settings come from

Earlier ones go before later ones:

1. the flag `-l` of the command line, for the levels of the log;
2. the environment: `{PREFIX}_` and the setting's name in capitals, joined by `_`, so `server.bind` is
   `{PREFIX}_SERVER_BIND`;
3. the configuration file: `-c FILE`, else `${PREFIX}_CONFIG_PATH`, else `~/.planetmint`;
4. the defaults below.

The file is one JSON object with an object per section; `planetmint configure` writes one (mode 0600):

```json
{{
    "server": {{"bind": "0.0.0.0:9984"}},
    "wsserver": {{"host": "0.0.0.0", "advertised_host": "node.example.com"}},
    "data": {{"dir": "/srv/planetmint"}}
}}
```

In the environment, true and false may be written `true`, `yes`, `on`, `1` and `false`, `no`, `off`, `0`; the parts
of a list are separated by `:`; nothing or `null` is null where a setting allows it. A value that does not fit ends
the command with one line that names the variable or the file, and exit code 1. What the node does not know is
ignored with a warning.

## Files of the old servers

Files of Planetmint and BigchainDB 2.x are read as they are: the sections `server`, `wsserver`, `tendermint` and
`log` count, and what has no meaning here (settings of gunicorn or of other databases) is named in a warning. A
`database` section for Tarantool implies `consensus.engine=cometbft`, which is how those servers ran. A section for
MongoDB is ignored with a warning.

## Programs that the node looks after

With `consensus.engine=cometbft` and `database.backend=tarantool_db` the node starts CometBFT and Tarantool itself
where their hosts are this machine: `consensus.managed` and `database.managed` are then true unless set. They have
folders of their own in `data.dir`, their messages go into the node's log, they are started again when they end,
and they end with the node. Where a host is another machine the node connects to what somebody else runs there, and
finds it again when it was away; an outside engine connects to `abci.host` and `abci.port`.
"""

_DATABASE = f"""## database

`{PREFIX}_DATABASE_BACKEND` (or `backend` in the file) chooses which of the following sets of settings there is."""


def reference() -> str:
    """The whole document."""
    return "\n".join([_INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for name, section in SECTIONS.items():
        yield _section(f"## {name}", section, name)
        if name == "tendermint":
            yield _DATABASE + "\n"
            yield _section("### With `sqlite`", SqliteSettings, "database")
            yield _section("### With `tarantool_db`", TarantoolSettings, "database")


def _section(title: str, section: type[Struct], name: str) -> str:
    rows = [_row(setting) for setting in settings_of(section, (name,))]
    head = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([title, "", section.__doc__ or "", "", *head, *rows, ""])


def _row(setting: Setting) -> str:
    cells = (f"`{setting.name}`", setting.form, _default(setting), setting.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(setting: Setting) -> str:
    if setting.name == "data.dir":
        return "see right"
    return f"`{json.dumps(setting.default)}`"


if __name__ == "__main__":
    sys.stdout.write(reference())
