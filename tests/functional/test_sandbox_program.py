# SPDX-License-Identifier: AGPL-3.0-or-later
"""A configured `zencode-exec` program as the engine (issue: The engine's choice), in the same jail.

The program is a small one of our own that speaks the protocol and runs contracts in the library of the package
`zenroom`; it is compiled here. A hostile sister of it tries what no contract may.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from planetmint.ports.contracts import Patience
from planetmint.ports.errors import ContractOverrun, ContractsUnavailable
from planetmint.sandbox import EngineKind, SandboxLimits, find_engine
from tests.support.contract_pool import call_of, contract_pool, installed_engine

SUPPORT = Path(__file__).resolve().parents[1] / "support"
OK = b'{"output":["ok"]}\n'
ENDLESS = call_of(
    "Given nothing\nWhen I write string 'a' in 'a'\n"
    "When I create the key derivation of 'a' with '2000000000' rounds\nThen print the string 'ok'\n"
)
HOSTILE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
    char line[4096];
    fprintf(stderr, "Release version: 3.16.1\\n");
    while (fgets(line, sizeof line, stdin))
        if (strstr(line, "R2l2ZW4gbm90aGluZwpUaGVuIHByaW50IHRoZSBzdHJpbmcgJ29rJwo=")) {
            puts("{\\"output\\":[\\"ok\\"]}");
            return 0;
        }
    @MISDEED@
    puts("done");
    return 0;
}
"""
"""Answers to the trial run and does the misdeed in every other."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every user may read: the program runs as nobody where the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="zencode-exec-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def compiled(source: Path, program: Path, *options: str) -> Path:
    subprocess.run(["gcc", "-Wall", "-O1", *options, str(source), "-o", str(program)], check=True)
    return program


@pytest.fixture(scope="module")
def program(folder: Path) -> Path:
    library = shutil.copy(installed_engine().path, folder / "engine.so")
    return compiled(SUPPORT / "zencode_exec.c", folder / "zencode-exec", f'-DENGINE="{library}"')


@pytest.fixture
def kind(program: Path) -> EngineKind:
    found = find_engine(str(program))
    assert found is not None
    return found


async def test_program_is_named_with_the_version_that_it_says(kind: EngineKind) -> None:
    assert kind.name == "zencode-exec 3.16.1"


async def test_program_answers_as_the_library_does(kind: EngineKind) -> None:
    script = (
        "Given I have a 'string' named 'a'\nand I have a 'string' named 'b'\n"
        "When I create the random object of '256' bits\nThen print data\n"
    )
    calls = [
        call_of(),
        call_of(script, '{"a": "1"}', '{"b": "2"}', bytes(range(64))),
        call_of("Given nothing\nWhen I fly\n"),
        call_of("Given I have a 'string' named 'a'\nThen print the 'a'\n", json.dumps({"a": "x" * 300_000})),
        call_of("Given nothing\n", ""),
    ]
    async with contract_pool(kind=kind) as pool, contract_pool() as other:
        assert pool.name == kind.name
        for call in calls:
            ours = await pool.run(call, Patience.ADMISSION)
            theirs = await other.run(call, Patience.ADMISSION)
            assert ours.answer.output == theirs.answer.output


async def test_limits_hold_for_a_program(kind: EngineKind) -> None:
    lines = "".join(f"Then print 'a' as 'string' in 'x{number}'\n" for number in range(20))
    much = call_of("Given I have a 'string' named 'a'\n" + lines, json.dumps({"a": "x" * 9_000}))
    rows = "When I create the array of '10000' random objects of '100000' bytes\n"
    large = call_of("Given nothing\n" + rows + "Then print the string 'ok'\n")
    async with contract_pool(kind=kind, limits=SandboxLimits(0.3, 40 << 20, 100_000)) as pool:
        for call, words, patience in (
            (ENDLESS, "processor time", Patience.ADMISSION),
            (much, "prints more than", Patience.PROPOSAL),
        ):
            with pytest.raises(ContractOverrun, match=words):
                await pool.run(call, patience)
            assert (await pool.run(call_of(), patience)).answer.output == OK
    async with contract_pool(kind=kind, limits=SandboxLimits(60, 40 << 20)) as pool:
        with pytest.raises(ContractOverrun, match="bytes of memory"):
            await pool.run(large, Patience.ADMISSION)


@pytest.mark.parametrize(
    ("name", "misdeed", "allowed"),
    [
        ("fork", "fork();", False),
        ("socket", "socket(AF_INET, SOCK_STREAM, 0);", False),
        ("execute", 'execl("/bin/sh", "sh", "-c", "echo done", (char *)0);', False),
        ("write", 'open("/tmp/probe-was-here", O_WRONLY | O_CREAT, 0600);', False),
        ("signal", "syscall(SYS_kill, getppid(), 0);", False),
        ("crash", "*(volatile int *)0 = 0;", False),
        ("read", 'if (open("/etc/passwd", O_RDONLY) >= 0) return fork();', True),
        ("again", 'syscall(SYS_execveat, 15, "", 0, 0, AT_EMPTY_PATH);', True),
        ("environment", 'if (environ[0] && strncmp(environ[0], "GLIBC_TUNABLES=", 15)) return fork();', True),
    ],
)
async def test_program_is_jailed_as_the_library_is(folder: Path, name: str, misdeed: str, allowed: bool) -> None:
    source = folder / f"{name}.c"
    source.write_text(HOSTILE.replace("@MISDEED@", misdeed))
    hostile = compiled(source, folder / name)
    call = call_of("Given that I misbehave\n")
    async with contract_pool(kind=EngineKind("zencode-exec 3.16.1", hostile, is_program=True)) as pool:
        files = next(layer for layer in pool.layers if layer.name == "files")
        if name == "read" and not files.active:
            assert files.detail
        elif allowed:  # to try: it gets nothing
            assert (await pool.run(call, Patience.ADMISSION)).answer.output == b"done\n"
        else:
            with pytest.raises(ContractOverrun, match="SIG"):
                await pool.run(call, Patience.ADMISSION)


async def test_program_that_cannot_start_makes_the_node_say_so(folder: Path) -> None:
    broken = folder / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    for path in (broken, folder / "missing"):
        with pytest.raises(ContractsUnavailable, match=path.name):
            async with contract_pool(kind=EngineKind("zencode-exec 3.16.1", path, is_program=True)):
                pass


async def test_many_runs_of_a_program_leave_nothing_behind(kind: EngineKind) -> None:
    async with contract_pool(kind=kind) as pool:
        done = await asyncio.gather(*(pool.run(call_of(), Patience.ADMISSION) for _ in range(40)))
        assert {execution.answer.output for execution in done} == {OK}
        assert len(pool.pids) == 1
