# SPDX-License-Identifier: AGPL-3.0-or-later
"""The manual names everything that the streams have, and its example works."""

import asyncio
import re
from pathlib import Path

import pytest

from planetmint.model.transaction import Operation
from planetmint.streams import frames
from planetmint.streams.catalogue import STREAMS
from planetmint.streams.query import PARAMETERS
from tests.unit.streams.world import event, hash_of, until, world

MANUAL = (Path(__file__).resolve().parents[3] / "docs" / "event-stream.md").read_text()


@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_has_a_section(name: str) -> None:
    assert f"\n### {name}\n" in MANUAL
    assert f"`{STREAMS[name].path}`" in MANUAL


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_described(name: str) -> None:
    assert re.search(rf"`{name}(=[^`]*)?`", MANUAL)


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_is_named(operation: Operation) -> None:
    assert operation in MANUAL


@pytest.mark.parametrize(
    "code",
    [
        frames.GOING_AWAY,
        frames.PROTOCOL_ERROR,
        frames.MESSAGE_TOO_BIG,
        frames.INTERNAL_ERROR,
        frames.TRY_AGAIN_LATER,
    ],
)
def test_every_close_code_is_explained(code: int) -> None:
    assert re.search(rf"^\| [^|]*\b{code}\b[^|]* \|", MANUAL, re.MULTILINE)


async def test_ex_7_the_example_of_a_client_that_resumes_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    body, _, call = source.rstrip().rpartition("\n")
    assert call == "asyncio.run(follow(print))"
    monkeypatch.chdir(tmp_path)
    got: list[object] = []
    async with world() as there:
        names: dict[str, object] = {}
        exec(body.replace("ws://localhost:9985/api/v1/streams/valid_transactions", there.url()), names)
        follow = names["follow"]
        assert callable(follow)

        def work(message: dict[str, object]) -> None:
            got.append(message["transaction_id"])

        for part in "ab":
            following = asyncio.create_task(follow(work))
            await until(lambda: there.server.subscribers == 1, "it is connected")
            there.feed.commit(event(part))
            await until(lambda part=part: hash_of(part) in got, "it has the message")  # type: ignore[misc]
            following.cancel()
            await until(lambda: there.server.subscribers == 0, "it has left")
            there.feed.commit(event(f"while away after {part}"))
        following = asyncio.create_task(follow(work))
        await until(lambda: len(got) == 4, "it has what it missed")
        following.cancel()
        await asyncio.wait([following])
    assert got == [hash_of(name) for name in ("a", "while away after a", "b", "while away after b")]
