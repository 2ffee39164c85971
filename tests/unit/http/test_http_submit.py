# SPDX-License-Identifier: AGPL-3.0-or-later
"""Posting one transaction: http-api 2.1, 2.2, 2.6 and 4.3, and "Bad input"."""

import asyncio
import copy
import json
import time
from typing import Any

import pytest

from planetmint.app.application import Mode
from planetmint.http import HttpSettings
from planetmint.http.body import DRAINED_BYTES, BodyTooLarge, Budget, read_body
from planetmint.model import errors
from planetmint.model.errors import InvalidTransaction
from planetmint.ports.errors import CommitTimeout, EngineError, MempoolFull, StoreError, StoreFull
from tests.unit.http.world import NEW, OLD, StubApplication, World, body_of, lines_of, request, served, status_line

NOT_UNDERSTOOD = "The browser (or proxy) sent a request that this server could not understand."
TRANSACTIONS = "/api/v1/transactions"


def invalid_classes() -> list[type[InvalidTransaction]]:
    return [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, InvalidTransaction)
    ]


# Accepted


@pytest.mark.parametrize("query", ["", "?mode=async", "?mode=sync", "?mode=commit"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_http_4_3_an_accepted_transaction_answers_202_with_itself(
    query: str, slash: str, world: World
) -> None:
    item = world.story.painting
    answer = await world.client.post(f"{TRANSACTIONS}{slash}{query}", content=item.canonical)
    assert (answer.status_code, answer.json()) == (202, item.wire)
    assert answer.headers["content-type"] == "application/json"
    assert world.application.taken == [(item.canonical, Mode(query[6:] or "async"))]


async def test_http_2_2_status_lines_of_posts_carry_the_old_phrases(world: World) -> None:
    good = await world.raw(request("POST", TRANSACTIONS, world.story.bicycle.canonical))
    bad = await world.raw(request("POST", TRANSACTIONS, b"{}"))
    assert status_line(good) == "HTTP/1.1 202 ACCEPTED"
    assert status_line(bad) == "HTTP/1.1 400 BAD REQUEST"


async def test_http_4_3_any_spelling_of_the_json_is_taken(world: World) -> None:
    item = world.story.bicycle
    answer = await world.post(json.dumps(item.wire, indent=4))
    assert (answer.status_code, answer.content) == (202, item.canonical)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "nonsense",
        None,
    ],
)
async def test_http_2_1_any_content_type_is_taken_as_json(kind: str | None, world: World) -> None:
    item = world.story.bicycle
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await world.post(item.canonical, headers=headers)
    assert (answer.status_code, answer.json()) == (202, item.wire)


@pytest.mark.parametrize("mode", ["", "ASYNC", "Commit", "block", "async ", "async,sync", "%00"])
async def test_http_4_3_other_modes_are_refused(mode: str, world: World) -> None:
    answer = await world.post(world.story.bicycle.canonical, f"?mode={mode}")
    assert answer.status_code == 400
    assert answer.json()["message"] == {"mode": 'Mode must be "async", "sync" or "commit"'}
    assert world.application.taken == []


async def test_http_4_3_the_first_mode_counts_and_every_one_is_checked(world: World) -> None:
    assert (await world.post(world.story.bicycle.canonical, "?mode=sync&mode=commit")).status_code == 202
    assert world.application.taken[0][1] is Mode.SYNC
    assert (await world.post(world.story.bicycle.canonical, "?mode=sync&mode=x")).status_code == 400


async def test_http_4_3_other_arguments_are_ignored(world: World) -> None:
    assert (await world.post(world.story.bicycle.canonical, "?foo=1&mode=commit")).status_code == 202
    assert world.application.taken[0][1] is Mode.COMMIT


# Refused


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"not json", b"{", b"[1,2", b'{"a":}', b"\xff\xfe", b"{}x", b"'a'", b"nul", b"{\x00}", b"a=b&c=d"],
)
async def test_http_4_3_what_is_not_json_answers_400_in_the_old_words(body: bytes, world: World) -> None:
    answer = await world.post(body)
    assert (answer.status_code, answer.json()["message"]) == (400, NOT_UNDERSTOOD)
    assert answer.json()["class"] == "SchemaValidationError"
    assert answer.json()["rule"] == "json.syntax"


@pytest.mark.parametrize("body", [b"[]", b"7", b'"text"', b"null", b"true", b"[{}]"])
async def test_http_4_3_json_that_is_no_object_answers_400(body: bytes, world: World) -> None:
    answer = await world.post(body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Invalid transaction schema: ")


@pytest.mark.parametrize("kind", invalid_classes())
async def test_http_4_3_every_broken_rule_answers_with_its_class_rule_and_field(
    kind: type[InvalidTransaction], world: World
) -> None:
    world.application.failure = kind("the reason", rule="some.rule", field="outputs[0].amount")
    answer = await world.post(b"{}")
    schema = kind is errors.SchemaValidationError
    start = "Invalid transaction schema" if schema else f"Invalid transaction ({kind.__name__})"
    status = 413 if kind is errors.TransactionTooLarge else 400
    assert answer.status_code == status
    assert list(answer.json().items()) == [
        ("message", f"{start}: the reason"),
        ("class", kind.__name__),
        ("rule", "some.rule"),
        ("field", "outputs[0].amount"),
        ("status", status),
    ]


async def test_http_4_3_a_wrong_id_answers_invalid_hash_in_the_old_words(world: World) -> None:
    wrong = world.story.bicycle.changed(lambda wire: wire.update(id="0" * 64), new_id=False)
    answer = await world.post(wrong.canonical)
    expected = f"The transaction's id '{'0' * 64}' isn't equal to the hash of its body, i.e. it's not valid."
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        f"Invalid transaction (InvalidHash): {expected}",
    )


@pytest.mark.parametrize("member", ["inputs", "outputs", "version", "operation", "asset", "metadata"])
async def test_http_4_3_a_missing_member_is_a_schema_error(member: str, world: World) -> None:
    item = world.story.bicycle.changed(lambda wire: wire.pop(member))
    answer = await world.post(item.canonical)
    assert answer.status_code == 400
    assert answer.json()["class"] == "SchemaValidationError"


async def test_http_4_3_extra_top_level_members_are_refused(world: World) -> None:
    item = world.story.bicycle.changed(lambda wire: wire.update(extra=1))
    answer = await world.post(item.canonical)
    assert (answer.status_code, answer.json()["class"]) == (400, "SchemaValidationError")


@pytest.mark.parametrize("version", ["1.0", "4.0", "", None, 2.0])
async def test_http_4_3_unknown_versions_answer_400(version: object, world: World) -> None:
    item = world.story.bicycle.changed(lambda wire: wire.update(version=version))
    answer = await world.post(item.canonical)
    assert (answer.status_code, answer.json()["class"]) == (400, "SchemaValidationError")


async def test_http_4_3_both_versions_are_accepted(world: World) -> None:
    for item in world.story.all:
        assert (await world.post(item.canonical)).status_code == 202


# The node is in trouble


@pytest.mark.parametrize("kind", [EngineError, MempoolFull, StoreError, StoreFull])
async def test_http_4_3_a_node_in_trouble_answers_503_with_a_text_and_when_to_retry(
    kind: type[Exception], world: World
) -> None:
    world.application.failure = kind("connection to /run/secret.sock failed")
    answer = await world.post(world.story.bicycle.canonical)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert isinstance(answer.json()["message"], str)
    assert answer.json()["class"] == kind.__name__
    assert "secret" not in answer.text


async def test_http_4_3_a_commit_that_is_late_answers_504_and_says_that_it_may_still_happen(world: World) -> None:
    world.application.failure = CommitTimeout("x")
    answer = await world.post(world.story.bicycle.canonical, "?mode=commit")
    assert answer.status_code == 504
    assert "may still be committed" in answer.json()["message"]
    raw = await world.raw(request("POST", TRANSACTIONS, b"{}"))
    assert status_line(raw) == "HTTP/1.1 504 GATEWAY TIMEOUT"


async def test_http_4_3_waiting_for_a_commit_holds_up_nobody_else(world: World) -> None:
    free = asyncio.Event()
    world.application.holds = free.wait
    waiting = [asyncio.create_task(world.post(world.story.bicycle.canonical, "?mode=commit")) for _ in range(20)]
    while len(world.application.taken) < len(waiting):
        await asyncio.sleep(0.01)
    assert (await world.get("/health/live")).status_code == 200
    free.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {202}


# Hostile bodies, through the real rules


def deep(count: int, opening: bytes, closing: bytes) -> bytes:
    return opening * count + closing * count


HOSTILE = {
    "10^6 nested arrays": deep(500_000, b"[", b"]"),
    "10^6 open brackets": b"[" * 1_000_000,
    "nested objects": deep(100_000, b'{"a":', b"") + b"1" + b"}" * 100_000,
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "overflowing number": b'{"a":1e999}',
    "number of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "fraction of 5,000 digits": b'{"a":0.' + b"1" * 5000 + b"}",
    "exponent of 5,000 digits": b'{"a":1e' + b"1" * 5000 + b"}",
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone surrogate as key": b'{"\\udfff":1}',
    "surrogate in the id": b'{"id":"\\ud800"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(60_000)) + b"}",
    "one key a million times": b"{" + b",".join([b'"k":1'] * 100_000) + b"}",
    "long key": b'{"' + b"k" * 900_000 + b'":1}',
    "long id": b'{"id":"' + b"a" * 900_000 + b'"}',
    "control characters": b'{"a":"\x01\x02"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"a":1}'.encode("utf-16"),
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 100,
    "long white space": b" " * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_bad_input_answers_4xx_with_class_and_rule_and_a_short_text(name: str, world: World) -> None:
    started = time.process_time()
    answer = await world.post(HOSTILE[name])
    assert 400 <= answer.status_code < 500
    body = answer.json()
    assert body["class"] in {kind.__name__ for kind in invalid_classes()}
    assert body["rule"]
    assert "field" in body
    assert isinstance(body["message"], str)
    assert len(answer.content) < 8_000
    assert time.process_time() - started < 20, "the time for a body must be bounded"
    assert (await world.get("/health/live")).status_code == 200


WRONG_VALUES: list[Any] = [None, True, 0, -1, 1.5, 2**70, "", "x", "ü" * 50, [], [[]], [None], {}, {"x": {"y": 1}}]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        found += places(child, (*path, name))
    return found


def replaced(wire: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(wire)
    target = changed
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    return changed


@pytest.mark.parametrize("number", range(4))
async def test_bad_input_of_a_wrong_type_at_every_field_never_answers_500(number: int, world: World) -> None:
    story = world.story
    wire = (story.bicycle, story.painting, story.sold, story.installation)[number].wire
    tried = [(path, value) for path in places(wire) for value in WRONG_VALUES]
    bodies = [json.dumps(replaced(wire, path, value)) for path, value in tried]
    answer = await world.post("\n".join(bodies), headers={"Content-Type": "application/x-ndjson"})
    verdicts = lines_of(answer)
    assert len(verdicts) == len(bodies)
    for change, verdict in zip(tried, verdicts, strict=True):
        assert verdict["status"] == 202 or (verdict["status"] == 400 and verdict["class"] and verdict["rule"]), (
            change
        )
    for body, verdict in list(zip(bodies, verdicts, strict=True))[::40]:
        assert (await world.post(body)).status_code == verdict["status"]


# Sizes


async def test_http_2_6_a_body_over_the_limit_answers_413_before_it_is_parsed(world: World) -> None:
    answer = await world.post(b"x" * 1_048_577)
    assert (answer.status_code, answer.json()["status"]) == (413, 413)
    assert answer.json()["class"] == "TransactionTooLarge"
    assert world.application.taken == []
    assert (await world.get("/health/live")).status_code == 200


async def test_http_2_6_the_limit_is_a_setting_and_exact() -> None:
    item = OLD.create("alice")
    application = StubApplication()
    async with served(application, HttpSettings(max_body_bytes=len(item.canonical))) as world:
        assert (await world.post(item.canonical)).status_code == 202
        assert (await world.post(item.canonical + b" ")).status_code == 413
        chunked = await world.client.post(TRANSACTIONS, content=parts(item.canonical + b" ", 7))
        assert chunked.status_code == 413
        whole = await world.client.post(TRANSACTIONS, content=parts(item.canonical, 7))
        assert (whole.status_code, whole.json()) == (202, item.wire)
    assert len(application.taken) == 2


async def parts(body: bytes, size: int) -> Any:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_http_2_6_30_mb_answer_413_and_the_connection_goes_on(world: World) -> None:
    body = b"x" * 30_000_000
    first = f"POST {TRANSACTIONS} HTTP/1.1\r\nHost: node\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    answer = await world.raw(first, request("GET", "/health/live"))
    assert status_line(answer) == "HTTP/1.1 413 REQUEST ENTITY TOO LARGE"
    assert b"\r\n\r\n" in answer and answer.count(b"HTTP/1.1 200 OK") == 1


async def test_http_2_6_30_mb_in_chunks_and_without_keep_alive_answer_413(world: World) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = request("POST", TRANSACTIONS, b"", "Transfer-Encoding: chunked")
    answer = await world.raw(head, *[chunk] * 460, b"0\r\n\r\n")
    assert status_line(answer) == "HTTP/1.1 413 REQUEST ENTITY TOO LARGE"
    assert body_of(answer)["class"] == "TransactionTooLarge"


async def test_http_2_6_a_monstrous_declared_length_closes_the_connection_at_once(world: World) -> None:
    for length in (2 * DRAINED_BYTES, 10**18):
        head = f"POST {TRANSACTIONS} HTTP/1.1\r\nHost: node\r\nContent-Length: {length}\r\n\r\n"
        answer = await world.raw(head.encode() + b"x" * 1000)
        assert status_line(answer) == "HTTP/1.1 413 REQUEST ENTITY TOO LARGE"
        assert b"connection: close" in answer.lower()


def test_http_2_6_unfinished_bodies_share_a_budget_that_comes_back() -> None:
    budget = Budget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.take(40)
    budget.give_back(60)
    assert budget.take(60)
    assert not budget.take(1)


async def test_http_2_6_no_more_of_a_body_is_kept_than_the_limit_and_one_part() -> None:
    taken = []

    class Watched(Budget):
        def take(self, size: int) -> bool:
            taken.append(size)
            return super().take(size)

    sent = iter([{"type": "http.request", "body": b"x" * 100, "more_body": number < 99} for number in range(100)])

    async def receive() -> dict[str, object]:
        return next(sent)

    with pytest.raises(BodyTooLarge) as caught:
        await read_body(receive, 250, Watched(10_000))  # type: ignore[arg-type]
    assert caught.value.drained
    assert sum(taken) == 300


async def test_http_2_6_too_many_unfinished_bodies_answer_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planetmint.http.submit.BODY_BUDGET", 500_000)
    async with served(StubApplication()) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request("POST", TRANSACTIONS, b"", "Content-Length: 500000") + b"x" * 400_000)
        await writer.drain()
        async with asyncio.timeout(30):
            while (answer := await world.post(b"x" * 450_000)).status_code != 503:
                await asyncio.sleep(0.01)  # the unfinished one has not been read yet
        assert int(answer.headers["retry-after"]) > 0
        assert (await world.post(world.story.bicycle.canonical)).status_code == 202
        writer.write(b"x" * 100_000)
        assert status_line(await asyncio.wait_for(reader.read(), 30)) == "HTTP/1.1 400 BAD REQUEST"
        writer.close()
        assert (await world.post(b"x" * 450_000)).status_code == 400


# Connections


async def test_http_2_5_expect_100_continue_is_honoured(world: World) -> None:
    body = world.story.bicycle.canonical
    head = request("POST", TRANSACTIONS, b"", "Expect: 100-continue", f"Content-Length: {len(body)}")
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(head)
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert status_line(answer) == "HTTP/1.1 202 ACCEPTED"


async def test_http_2_5_expect_100_continue_with_too_much_gets_413_and_no_leave(world: World) -> None:
    head = f"POST {TRANSACTIONS} HTTP/1.1\r\nHost: node\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n"
    answer = await world.raw(head.encode())
    assert status_line(answer) == "HTTP/1.1 413 REQUEST ENTITY TOO LARGE"
    assert b"100 Continue" not in answer


async def test_http_2_5_a_slow_body_is_waited_for_and_holds_up_nobody(world: World) -> None:
    body = world.story.bicycle.canonical
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(request("POST", TRANSACTIONS, b"", f"Content-Length: {len(body)}"))
    for start in range(0, len(body), 100):
        writer.write(body[start : start + 100])
        await writer.drain()
        assert (await world.get("/health/live")).status_code == 200
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    assert status_line(answer) == "HTTP/1.1 202 ACCEPTED"


async def test_http_2_5_a_client_that_leaves_within_its_body_leaves_nothing_behind(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(request("POST", TRANSACTIONS, b"", "Content-Length: 1000") + b"{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await world.get("/health/live")).status_code == 200
    assert world.application.taken == []
    assert capsys.readouterr().out == ""


async def test_http_2_5_pipelined_posts_are_answered_in_order(world: World) -> None:
    items = [NEW.create("alice", data=f"number {number}") for number in range(20)]
    head = f"POST {TRANSACTIONS} HTTP/1.1\r\nHost: node\r\nContent-Length: "
    asked = b"".join(f"{head}{len(item.canonical)}\r\n\r\n".encode() + item.canonical for item in items)
    answer = await world.raw(asked + request("GET", "/health/live"))
    assert answer.count(b"HTTP/1.1 202 ACCEPTED") == len(items)
    found = [answer.find(item.canonical) for item in items]
    assert found == sorted(found) and found[0] > 0
