# SPDX-License-Identifier: AGPL-3.0-or-later
"""The architecture, held: import arrows, a core without I/O, and nothing in it that differs between validators.

Sources: style 2 (arrows), design D1 and D11.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import planetmint

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(planetmint.__file__).parent
CORE = ("model", "conditions", "contracts", "rules", "elections", "state", "chain")

DOES_IO = frozenset(
    {
        *("asyncio", "selectors", "socket", "ssl", "sqlite3", "http", "urllib", "email", "logging", "locale"),
        *("multiprocessing", "subprocess", "threading", "queue", "tempfile", "random", "secrets", "signal"),
        *("structlog", "uvloop", "starlette", "uvicorn", "httptools", "websockets", "wsproto", "typer", "rich"),
        *("httpx", "prometheus_client", "msgspec"),
    }
)
"""Modules that the core must not even bring along. Its libraries, nacl and rapidjson, bring none of them."""

UNEVEN = frozenset(
    {
        *(
            "time",
            "datetime",
            "calendar",
            "zoneinfo",
            "random",
            "secrets",
            "uuid",
            "os",
            "sys",
            "locale",
            "platform",
        ),
        *("math", "cmath", "decimal", "fractions", "statistics", "threading", "asyncio", "io", "pathlib", "json"),
    }
)
"""Modules whose answers depend on the machine, the moment or floating point (D11); `json` because of D3."""

SPELLER = SOURCE / "model" / "json.py"
"""The one module that may write JSON as the interpreter does, for texts that are given to contracts."""

UNEVEN_CALLS = frozenset(
    {"float", "complex", "round", "hash", "id", "open", "print", "input", "eval", "exec", "globals", "vars"}
)
"""Built-ins that a rule has no use for: they depend on the process, or talk to the world."""

BY_UNICODE = frozenset(
    {
        *("isalpha", "isalnum", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable"),
        *("isspace", "istitle", "isupper", "capitalize", "casefold", "lower", "swapcase", "title", "upper"),
        *("splitlines", "normalize", "expandtabs"),
    }
)
"""Methods of text that ask the interpreter's Unicode tables, which differ between its versions."""

AT_BLANKS = frozenset({"strip", "lstrip", "rstrip", "split", "rsplit"})
"""Methods that do so unless they are told what to look for."""

ANY_DIGITS = frozenset({"int"})
"""Built-ins that take the digits of every script."""

CLASSES = re.compile(r"(?<!\\)(?:\\\\)*\\[wWdDsSbB]")
"""Classes of characters in patterns; in patterns over text they are classes of Unicode."""

SEARCH = "model/search.py"
"""Full text search (http-api 3.5) is a node's own answer; no verdict depends on it."""

UNICODE_ALLOWED = {
    ("contracts/zencode.py", "text.encode().lower()"): "bytes: ASCII letters alone",
    ("contracts/counts.py", "int(value)"): "of a number of JSON, never of text",
    ("contracts/counts.py", "int(significant or '0')"): "after [0-9]+",
    ("contracts/verdict.py", '\'^\\\\[string "[^"\\\\n]*"\\\\]:\\\\d+: *\''): "a hint for people",
    ("contracts/verdict.py", "_PLACE.sub('', item).strip()"): "a hint for people",
    ("contracts/verdict.py", "character.isprintable()"): "a hint for people",
    ("contracts/verdict.py", "answer.output.strip()"): "bytes",
    ("rules/schema.py", "int(amount)"): "after [0-9]{1,20}",
    ("conditions/uri.py", "int(cost)"): "after [0-9]{1,10}",
    ("model/json.py", "b'\\\\b(?:NaN|Inf|Infinity)\\\\b'"): "bytes",
}
"""Places in the core where the interpreter's tables decide nothing, and why they do not."""


def modules(package: str) -> list[str]:
    """Dotted names of a core package and everything below it."""
    paths = sorted((SOURCE / package).rglob("*.py"))
    names = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names]


def core_sources() -> list[Path]:
    return sorted(path for package in CORE for path in (SOURCE / package).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """First parts of the names of all modules that a source imports, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.partition(".")[0]


def test_import_arrows_hold() -> None:
    # In a process of its own: the linter switches the loggers off that it finds.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(
        [*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_arrows_name_every_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = text.partition("layers = [")[2].partition("]\n")[0]
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert {name for name in packages if f"planetmint.{name}" not in layers} == {"testing"}


@pytest.mark.parametrize("package", CORE)
def test_importing_the_core_brings_along_no_adapter_and_nothing_that_does_io(package: str) -> None:
    script = (
        "import importlib, json, sys\n"
        "before = set(sys.modules)\n"
        f"for name in {modules(package)!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    names = json.loads(done.stdout)
    ours = {name.split(".")[1] for name in names if name.startswith("planetmint.")}
    assert ours <= {*CORE, "version"}
    assert package in ours
    assert {name.partition(".")[0] for name in names} & DOES_IO == set()


@pytest.mark.parametrize("path", core_sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_d11_nothing_in_the_core_differs_between_machines(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set(imported(tree)) & UNEVEN == ({"json"} if path == SPELLER else set())
    for node in ast.walk(tree):
        place = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float | complex), f"{place}: a number with a fraction"
        if isinstance(node, ast.BinOp | ast.AugAssign):
            assert not isinstance(node.op, ast.Div), f"{place}: a division that leaves the integers"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in UNEVEN_CALLS, f"{place}: {node.func.id}()"
        if isinstance(node, ast.Global):
            raise AssertionError(f"{place}: state of the process")


@pytest.mark.parametrize("path", core_sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_d11_no_order_in_the_core_comes_from_a_set(path: Path) -> None:
    """A loop over a set runs in hash order, which differs from process to process for text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        loops = [node.iter] if isinstance(node, ast.For) else []
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
            loops = [generator.iter for generator in node.generators]
        for loop in loops:
            direct = isinstance(loop, ast.Set | ast.SetComp)
            made = isinstance(loop, ast.Call) and getattr(loop.func, "id", "") in ("set", "frozenset")
            assert not (direct or made), f"{path.name}:{loop.lineno}"


def asks_unicode(tree: ast.AST) -> Iterator[str]:
    """Expressions whose value may depend on the interpreter's Unicode tables."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str | bytes)
            and id(node) not in documentation
        ):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if CLASSES.search(text):
                yield ast.unparse(node)
        if isinstance(node, ast.Attribute) and node.attr in ("IGNORECASE", "I", "unidata_version"):
            yield ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        by_default = not node.args and not node.keywords
        first_is_none = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value is None
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name in BY_UNICODE or (name in AT_BLANKS and (by_default or first_is_none or not node.args)):
                yield ast.unparse(node)
        elif isinstance(node.func, ast.Name) and node.func.id in ANY_DIGITS and node.args:
            yield ast.unparse(node)


def unicode_allowed(path: Path) -> set[str]:
    place = path.relative_to(SOURCE).as_posix()
    return {text for allowed, text in UNICODE_ALLOWED if allowed == place}


@pytest.mark.parametrize(
    "path",
    [path for path in core_sources() if path != SOURCE / SEARCH],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_d11_no_rule_asks_the_tables_of_unicode_that_come_with_the_interpreter(path: Path) -> None:
    """A letter or a blank of a newer Unicode would be one to some validators only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert set(asks_unicode(tree)) == unicode_allowed(path)
    assert "unicodedata" not in set(imported(tree))


def test_what_asks_the_tables_of_unicode_is_recognised() -> None:
    source = (
        "re.compile(r'[^\\W0-9]'); re.compile(rf'{a}\\s'); text.lower().split(); text.split(None, 1); "
        "text.strip(); text.split(maxsplit=1); character.isspace(); int(text); re.compile('a', re.I); "
        "text.split(' '); int()"
    )
    assert len(set(asks_unicode(ast.parse(source)))) == 10


def test_only_the_runtime_ends_the_process() -> None:
    for path in sorted(SOURCE.rglob("*.py")):
        part = path.relative_to(SOURCE).parts[0]
        # The sandbox consists of processes of its own; the node only talks to them.
        if part in ("runtime", "cli", "sandbox", "__main__.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                named = (node.value.id, node.attr)
                assert named not in {("sys", "exit"), ("os", "_exit"), ("os", "abort"), ("os", "kill")}, path
            if isinstance(node, ast.Raise):
                assert getattr(node.exc, "id", "") != "SystemExit", path
