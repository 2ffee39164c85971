# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Tarantool store and real servers: killed, paused, lost and found, locked, outdated, damaged."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from planetmint.model.election import ChainRecord
from planetmint.model.search import parse_search
from planetmint.model.transaction import Asset
from planetmint.ports.errors import LayoutError, StoreError, StoreFull
from planetmint.ports.store import Paging, StateReads
from planetmint.storage.memory import MemoryStore
from planetmint.storage.tarantool import (
    Address,
    TarantoolStore,
    drop,
    exists,
    lay_out,
    migrate,
    set_up,
)
from planetmint.storage.tarantool.record import Batch
from planetmint.storage.tarantool.session import Session, Value, wire
from planetmint.testing.store_conformance import (
    ANYBODY,
    FOUNDING,
    SOMEBODY,
    Chain,
    block_of,
    election,
    header_of,
    ref,
    transaction,
    transfer,
)
from tests.support.history import play
from tests.support.network import low_ports
from tests.support.tarantool import PASSWORD, Server, running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in which tests may do everything but stop it."""
    with running(tmp_path_factory.mktemp("tarantool"), administered=True) as server:
        yield server


@pytest.fixture
async def server(shared: Server) -> Server:
    """The same, empty."""
    await drop(shared.address)
    return shared


@asynccontextmanager
async def opened(address: Address, *, read_only: bool = False) -> AsyncIterator[TarantoolStore]:
    store = TarantoolStore(address, read_only=read_only)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def as_admin(server: Server, text: str, *arguments: Value) -> list[Value]:
    """Run Lua in the server with all rights."""
    session = Session(server.administrator)
    try:
        await session.connect()
        return await session.evaluate(text, *arguments)
    finally:
        await session.close()


def small_chain() -> Chain:
    """Blocks with something of everything that is stored."""
    chain = Chain()
    chain.block(
        transaction("a", owners=[(ANYBODY,), (SOMEBODY, ANYBODY)], assets=[Asset(None, "content")]),
        transaction("b", assets=[Asset(None, {"text": "red foxes"})], metadata={"a": "brown dog", "b": "dog"}),
    )
    chain.block(transfer("t", ref("a"), asset="a"), elections=[election("e", 2)])
    chain.block()
    chain.block(transfer("u", ref("t"), ref("b"), asset="b"), validators=FOUNDING.validators[:1])
    chain.block(transaction("c", metadata="last words"), chain=ChainRecord("other", 5, synced=False))
    return chain


async def fill(store: TarantoolStore, chain: Chain) -> None:
    await store.found(FOUNDING, header_of(0))
    await store.save_blocks(chain.blocks)


async def findings(store: TarantoolStore, chain: Chain) -> tuple[str, ...]:
    """What an audit of the whole ledger finds."""
    found: tuple[str, ...] = ()
    for block in chain.blocks:
        found += await store.audit(block)
    return found + await store.audit_end(chain.end())


async def until_it_answers(store: TarantoolStore) -> None:
    """Wait, for a bounded time, until the store works again."""
    async with asyncio.timeout(20):
        while True:
            try:
                await store.head()
                return
            except StoreError:
                await asyncio.sleep(0.02)


async def test_history_has_the_same_app_hashes_as_in_memory(server: Server) -> None:
    assert await play(TarantoolStore(server.address)) == await play(MemoryStore())


async def test_server_killed_while_it_saves_keeps_whole_blocks_and_all_acknowledged_ones(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with opened(server.address) as store:
            await store.found(FOUNDING, header_of(0))
            chain, acknowledged = Chain(), 0
            for number in range(3):

                async def save(name: str) -> None:
                    nonlocal acknowledged
                    while True:
                        height = len(chain.blocks) + 1
                        made = [transaction(f"{name} {height} {place}", metadata="w") for place in range(40)]
                        await store.save_block(chain.block(*made))
                        acknowledged = height

                saving = asyncio.create_task(save(f"round {number}"))
                await asyncio.sleep(0.1 + 0.07 * number)
                server.kill()
                with pytest.raises(StoreError):
                    await saving
                server.start()
                await until_it_answers(store)
                head = await store.head()
                assert head is not None and head.height in (acknowledged, acknowledged + 1)
                del chain.blocks[head.height :]
                known = {item.id for item in chain.transactions}
                chain.records = {key: item for key, item in chain.records.items() if key.transaction_id in known}
                assert await findings(store, chain) == ()
                acknowledged = head.height
            assert acknowledged > 3


async def test_lost_connection_fails_at_once_and_comes_back_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with opened(server.address) as store:
            await store.found(FOUNDING, header_of(0))
            chain = Chain()
            await store.save_block(chain.block(transaction("a")))
            server.stop()
            for _ in range(3):
                with pytest.raises(StoreError, match=r"tarantool\.sock"):
                    async with asyncio.timeout(5):
                        await store.head()
            with pytest.raises(StoreError):
                await store.save_block(block_of(2, [transaction("b")]))
            server.start()
            await until_it_answers(store)
            await store.save_block(chain.block(transaction("b")))
            assert await store.height_of(transaction("b").id) == 2


async def test_save_whose_answer_is_lost_has_landed_or_never_will(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with opened(replace(server.address, request_timeout=0.3)) as store:
            await store.found(FOUNDING, header_of(0))
            server.pause()
            try:
                with pytest.raises(StoreError, match="did not answer"):
                    await store.save_block(block_of(1, [transaction("a")]))
            finally:
                server.resume()
            await until_it_answers(store)
            head = await store.head()
            assert head is not None
            await store.save_block(block_of(head.height + 1, [transaction("b")]))
            assert (await store.transaction(transaction("a").id) is None) is (head.height == 0)


async def test_store_closes_while_the_server_does_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        store = TarantoolStore(server.address)
        await store.open()
        await store.found(FOUNDING, header_of(0))
        server.pause()
        try:
            saving = asyncio.create_task(store._write("save", 1, 0, 0, "x" * 8_000_000, "", [], None))
            await asyncio.sleep(0.1)
            async with asyncio.timeout(20):
                await store.close()
            with pytest.raises(StoreError):
                await asyncio.wait_for(saving, 5)
        finally:
            server.resume()


class Relay:
    """Stands between a store and its server, and can hold back what the store says."""

    def __init__(self, server: Server, path: Path) -> None:
        self.address = replace(server.address, socket=path, max_tries=1)
        self.holding = False
        self._server = server.address.socket
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._accept, str(self.address.socket))

    async def deliver(self) -> None:
        """Say to the server what was held back, and wait until it has answered."""
        for writer, data in self._held:
            writer.write(data)
            await writer.drain()
        self._held.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._server)
        answers = asyncio.create_task(self._pass_on(server_reader, writer))
        self._tasks.add(answers)
        while data := await reader.read(65_536):
            if self.holding:
                self._held.append((server_writer, data))
                writer.close()
            else:
                server_writer.write(data)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not writer.is_closing():
                writer.write(data)


async def test_save_that_arrives_after_its_store_went_on_is_refused(server: Server) -> None:
    assert server.address.socket is not None
    relay = Relay(server, server.address.socket.with_name("relay.sock"))
    listening = await relay.start()
    try:
        async with opened(relay.address) as store:
            await store.found(FOUNDING, header_of(0))
            batch = Batch(1, 0, 0)
            batch.add(block_of(1, [transaction("late")]), [set()])
            relay.holding = True
            with pytest.raises(StoreError, match="did not answer"):
                await store._write("save", 1, 0, 0, wire(b"".join(batch.save.rows)), "", [], None)
            relay.holding = False
            assert await store.head() == header_of(0)
            await relay.deliver()
            async with opened(server.address, read_only=True) as reader:
                for _ in range(20):
                    assert await reader.head() == header_of(0)
            await store.save_block(block_of(1, [transaction("other")]))
            assert await store.transaction(transaction("late").id) is None
    finally:
        listening.close()


async def test_late_save_of_a_store_is_refused_once_it_asked_again(server: Server) -> None:
    async with opened(server.address) as store:
        await store.found(FOUNDING, header_of(0))
        late = store._epoch
        store._in_doubt = True
        assert await store.head() == header_of(0)
        store._epoch, now = late, store._epoch
        with pytest.raises(StoreError, match="taken over"):
            await store.save_block(block_of(1, []))
        store._epoch = now
        await store.save_block(block_of(1, []))


async def test_store_that_opens_shuts_out_the_one_before_it(server: Server) -> None:
    async with opened(server.address) as first:
        await first.found(FOUNDING, header_of(0))
        async with opened(server.address) as second:
            with pytest.raises(StoreError, match="another node has taken over"):
                await first.save_block(block_of(1, []))
            await second.save_block(block_of(1, []))
            assert await first.head() == header_of(1)
            first._in_doubt = True
            with pytest.raises(StoreError, match="another node has taken over"):
                await first.head()


async def test_reading_only_shuts_nobody_out_and_writes_nothing(server: Server) -> None:
    with pytest.raises(StoreError, match="no ledger"):
        await TarantoolStore(server.address, read_only=True).open()
    assert not await exists(server.address)
    chain = small_chain()
    async with opened(server.address) as writer:
        await writer.found(FOUNDING, header_of(0))
        async with opened(server.address, read_only=True) as reader:
            await writer.save_blocks(chain.blocks)
            assert await reader.head() == header_of(5)
            assert await findings(reader, chain) == ()
            with pytest.raises(StoreError, match="reading alone"):
                await reader.save_block(block_of(6, []))


async def test_node_of_a_dropped_ledger_does_not_write_to_the_next_one(server: Server) -> None:
    async with opened(server.address) as first:
        await first.found(FOUNDING, header_of(0))
        await drop(server.address)
        async with opened(server.address) as second:
            await second.found(FOUNDING, header_of(0))
            with pytest.raises(StoreError, match="another node has taken over"):
                await first.save_block(block_of(1, []))


async def test_server_is_found_by_host_and_port(tmp_path: Path) -> None:
    with running(tmp_path, port=low_ports(1)[0]) as server:
        assert server.address.socket is None
        async with opened(server.address) as store:
            await fill(store, small_chain())
            server.kill()
            server.start()
            await until_it_answers(store)
            assert await findings(store, small_chain()) == ()


async def test_wrong_password_or_user_says_what_to_check(server: Server) -> None:
    for wrong in ({"password": "wrong"}, {"login": "stranger"}, {"login": None, "password": None}):
        for tries in (2, 0):
            address = replace(server.address, max_tries=tries, reconnect_delay=0.01, **wrong)
            with pytest.raises(StoreError, match=r"database\.password|planetmint init"):
                async with asyncio.timeout(20):
                    await TarantoolStore(address).open()


async def test_password_with_any_characters_works(tmp_path: Path) -> None:
    with running(tmp_path, password="Grüße \U0001f30d '\\") as server:
        async with opened(server.address) as store:
            assert await store.head() is None


async def test_node_may_execute_the_procedures_and_nothing_else(server: Server) -> None:
    await lay_out(server.address)
    session = Session(server.address)
    try:
        await session.connect()
        for text in ("return 1", "box.schema.user.create('x')"):
            with pytest.raises(StoreError, match=r"[Aa]ccess"):
                await session.evaluate(text)
        assert session._connection is not None
        for name in ("box.schema.user.create", "os.exit", "box.space.planetmint_meta:delete"):
            with pytest.raises(Exception, match=r"denied|not defined"):
                await session._connection.call(name, ["x"])
    finally:
        await session.close()


async def test_server_that_may_lose_blocks_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, bare="write") as server:
        await set_up(server.administrator, "planetmint", PASSWORD)
        with pytest.raises(StoreError, match="wal_mode='fsync'"):
            await TarantoolStore(server.address).open()


async def test_server_of_somebody_else_is_set_up_by_its_administrator(tmp_path: Path) -> None:
    with running(tmp_path, bare="fsync") as server:
        with pytest.raises(StoreError, match=r"database\.password"):
            await TarantoolStore(replace(server.address, max_tries=20)).open()
        for _ in range(2):
            await set_up(server.administrator, "planetmint", PASSWORD)
        async with opened(server.address) as store:
            await fill(store, small_chain())
        server.stop()
        server.start()
        async with opened(server.address) as store:
            assert await findings(store, small_chain()) == ()


async def test_laying_out_sets_a_server_up_where_the_login_may_do_so(tmp_path: Path) -> None:
    with running(tmp_path, bare="fsync") as server:
        await lay_out(server.administrator)
        async with opened(server.administrator) as store:
            assert await store.head() is None
        await as_admin(server, f"box.schema.user.create('planetmint', {{password = '{PASSWORD}'}})")
        command = r"python -m planetmint\.storage\.tarantool planetmint"
        for attempt in (lay_out(server.address), migrate(server.address)):
            with pytest.raises(LayoutError, match=command):
                await attempt


async def test_server_of_somebody_else_is_set_up_by_a_script(tmp_path: Path) -> None:
    with running(tmp_path, bare="fsync") as server:
        command = [sys.executable, "-m", "planetmint.storage.tarantool", "guest"]
        script = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        await as_admin(server, script)
        async with opened(replace(server.address, login=None, password=None)) as store:
            await fill(store, small_chain())
            assert await findings(store, small_chain()) == ()


async def test_other_layouts_are_refused_with_the_command_to_run(server: Server) -> None:
    async with opened(server.address) as store:
        await fill(store, small_chain())
    await as_admin(server, "box.space.planetmint_meta:replace({'layout', 2})")
    for attempt in (TarantoolStore(server.address).open(), migrate(server.address)):
        with pytest.raises(LayoutError, match=r"newer program.*planetmint migrate"):
            await attempt
    await as_admin(server, "box.space.planetmint_meta:replace({'layout', 1})")
    assert await migrate(server.address) == (1, 1)
    text = "local row = box.space.planetmint_meta:get('procedures'):totable() "
    text += (
        "row[2] = row[2]:gsub('version = 1', 'version = 0') row[3] = 'old' box.space.planetmint_meta:replace(row)"
    )
    await as_admin(server, text)
    with pytest.raises(LayoutError, match="planetmint migrate"):
        await TarantoolStore(server.address).open()
    await set_up(server.administrator, "planetmint", PASSWORD)
    async with opened(server.address) as store:
        assert await findings(store, small_chain()) == ()


async def test_laying_out_goes_on_where_it_was_interrupted(server: Server) -> None:
    await lay_out(server.address)
    spaces = ("elections", "validators", "postings", "outputs", "transactions", "blocks")
    for gone in range(1, len(spaces) + 1):
        for name in spaces[:gone]:
            await as_admin(server, f"box.space.planetmint_{name}:drop()")
        await as_admin(server, "box.space.planetmint_meta:delete('layout')")
        async with opened(server.address) as store:
            assert await store.head() is None
    async with opened(server.address) as store:
        await fill(store, small_chain())
        assert await findings(store, small_chain()) == ()


async def test_dropping_deletes_everything(server: Server) -> None:
    assert not await exists(server.address) and not await drop(server.address)
    async with opened(server.address) as store:
        await fill(store, small_chain())
    assert await exists(server.address) and await drop(server.address)
    assert not await exists(server.address)
    async with opened(server.address) as store:
        assert await store.founding() is None and await store.head() is None


async def test_hundred_of_hundred_flipped_bits_are_found(server: Server) -> None:
    chain, seed = small_chain(), random.randrange(2**32)
    chosen = random.Random(seed)
    async with opened(server.address) as store:
        await fill(store, chain)
        assert await findings(store, chain) == ()
        rows = await stored_rows(server)
        for number in range(100):
            space, row = chosen.choice(rows)
            damaged = flipped(row, chosen)
            await replace_row(server, space, row, damaged)
            found = await findings(store, chain)
            assert found, f"seed {seed}, number {number}: {space} {row} became {damaged}"
            await put_back(server, space, damaged, [row for name, row in rows if name == space])
        assert await findings(store, chain) == ()


async def test_header_that_was_damaged_is_found_though_the_audit_is_given_it(server: Server) -> None:
    chain = small_chain()
    async with opened(server.address) as store:
        await fill(store, chain)
        head = chain.blocks[-1]
        text = "local row = box.space.planetmint_blocks:get(5) "
        text += "local h = row[4] h = h:sub(1, 5) .. string.char((h:byte(6) + 1) % 256) .. h:sub(7) "
        await as_admin(server, text + "box.space.planetmint_blocks:update(5, {{'=', 4, h}})")
        summary = await store.summary(5)
        assert summary is not None and summary.header != head.header
        assert any("header" in item for item in await store.audit(replace(head, header=summary.header)))


async def test_rows_that_no_block_made_are_found(server: Server) -> None:
    chain = small_chain()
    more = {
        "postings": ["wextra", 0, []],
        "outputs": [2**20 + 9, False, 0, 1, ":x", ["key"], 0],
        "transactions": [9, 5, 0, [0, [0], None, []], "i" * 32, [], "{}"],
        "validators": [3, "[]"],
        "elections": ["e" * 32, "{}"],
        "blocks": [6, 5, 0, "", ""],
    }
    async with opened(server.address) as store:
        await fill(store, chain)
        for space, row in more.items():
            await as_admin(server, _DELETE, space, row, [row])
            assert await findings(store, chain) != (), space
            await as_admin(server, _DELETE, space, row, [])
        assert await findings(store, chain) == ()


async def stored_rows(server: Server) -> list[tuple[str, list[Value]]]:
    """Every record of the ledger, as (space, row)."""
    rows: list[tuple[str, list[Value]]] = []
    for name in ("blocks", "transactions", "outputs", "postings", "validators", "elections", "meta"):
        (found,) = await as_admin(server, f"return box.space.planetmint_{name}:select({{}})")
        rows += [(name, row) for row in found if name != "meta" or row[0] in ("founding", "chain")]
    return rows


def flipped(row: Sequence[Value], chosen: random.Random) -> list[Value]:
    """The row with one bit of one of its values other than it was."""
    places = [place for place, value in enumerate(row) if value is not None and value != []]
    place = chosen.choice(places)
    return [_flip(value, chosen) if at == place else value for at, value in enumerate(row)]


def _flip(value: Value, chosen: random.Random) -> Value:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value ^ 1 << chosen.randrange(8)
    if isinstance(value, str):
        at = chosen.randrange(len(value)) if value else 0
        return value[:at] + chr(ord(value[at : at + 1] or "\0") ^ 1 << chosen.randrange(8)) + value[at + 1 :]
    if isinstance(value, list):
        at = chosen.choice([place for place, item in enumerate(value) if item is not None and item != []])
        return [_flip(item, chosen) if place == at else item for place, item in enumerate(value)]
    raise AssertionError(f"no value of ours: {value!r}")


_DELETE = """
    local space, row = box.space['planetmint_' .. select(1, ...)], select(2, ...)
    local key = {}
    for place, part in ipairs(space.index[0].parts) do
        key[place] = row[part.fieldno]
    end
    space:delete(key)
    for _, other in ipairs(select(3, ...)) do
        space:replace(other)
    end
"""


async def replace_row(server: Server, space: str, old: Sequence[Value], new: Sequence[Value]) -> None:
    """Put one row in the place of another, and of one that has its key."""
    await as_admin(server, _DELETE, space, list(old), [list(new)])


async def put_back(server: Server, space: str, damaged: Sequence[Value], rows: Sequence[Value]) -> None:
    """Undo that; `rows` are all that the space had."""
    await as_admin(server, _DELETE, space, list(damaged), list(rows))


async def test_outputs_of_many_transactions_are_spent(server: Server) -> None:
    chain = Chain()
    chain.block(*(transaction(str(number)) for number in range(4_200)))
    numbers = (0, 1, 63, 4_095, 4_096, 4_199)
    chain.block(*(transfer(f"spends {number}", ref(str(number)), asset=str(number)) for number in numbers))
    async with opened(server.address) as store:
        await fill(store, chain)
        refs = list(chain.records)
        view = await store.read_state(StateReads([], refs))
        assert [view.output(item) for item in refs] == list(chain.records.values())
        assert await findings(store, chain) == ()
        spent = await store.outputs_by_key(ANYBODY, True, Paging())
        assert spent.items == tuple(ref(str(number)) for number in numbers)


async def test_full_server_refuses_the_block_whole_and_says_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path, memory=40 * 1024 * 1024) as server:
        async with opened(server.address) as store:
            await store.found(FOUNDING, header_of(0))
            chain = Chain()
            with pytest.raises(StoreFull, match=r"database\.memory"):
                for height in range(200):
                    await store.save_block(
                        chain.block(*(transaction(f"{height} {n}", metadata="x" * 9_000) for n in range(50)))
                    )
            refused = chain.blocks.pop()
            for record in refused.created:
                del chain.records[record.ref]
            assert await store.head() == chain.blocks[-1].header
            assert await findings(store, chain) == ()


async def test_searches_of_many_transactions_come_in_parts(server: Server) -> None:
    chain = Chain()
    names = ["fox", "red fox", "big red fox", "blue"]
    for height in range(12):
        made = [
            transaction(f"{height} {place}", metadata=names[(height * 7 + place) % 4], owners=[(ANYBODY,)])
            for place in range(60)
        ]
        chain.block(*made)
    memory = MemoryStore()
    async with opened(server.address) as store:
        await memory.open()
        for each in (store, memory):
            await each.found(FOUNDING, header_of(0))
            await each.save_blocks(chain.blocks)
        for search in ("fox", "red fox big", '"red fox" -big', '"big red" blue', 'fox -"big red"'):
            query, after = parse_search(search), None
            while True:
                expected = await memory.search_metadata(query, Paging(97, after))
                assert await store.search_metadata(query, Paging(97, after)) == expected
                after = expected.next
                if after is None:
                    break
        refs = list(chain.records)
        assert (await store.read_state(StateReads([], refs))).output(refs[-1]) == chain.records[refs[-1]]
