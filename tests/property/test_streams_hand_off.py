# SPDX-License-Identifier: AGPL-3.0-or-later
"""History joins live without a hole and without a repetition, whatever joins, cuts, lags and blocks there are.

The machine plays a node by chance: blocks are committed, handed out late, joined or not at all; subscribers join
anywhere, are paused, are cut and come back with their cursor; pages of history are read at one moment and arrive
at another. In the end every subscriber must have had exactly the messages that follow from the chain alone.
"""

import json
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from planetmint.model.block import BlockEvents, TransactionEvent
from planetmint.streams.batch import Batch
from planetmint.streams.catalogue import STREAMS, View
from planetmint.streams.cursor import Position, parse_cursor
from planetmint.streams.filters import EVERYTHING, Filter
from planetmint.streams.subscription import Subscription
from tests.unit.streams.world import LABEL, event, hash_of, key_of, page

OWNERS = ("alice", "bob")
FILTERS = (EVERYTHING, Filter(public_keys=frozenset({key_of("bob")})))


@dataclass(eq=False)
class Client:
    """A subscriber and everything that it has been sent, over all its connections."""

    view: View
    start: Position
    subscription: Subscription
    got: list[dict[str, object]] = field(default_factory=list)
    pages: list[Batch] = field(default_factory=list)
    joined_with: list[tuple[int, str]] = field(default_factory=list)
    """Per connection: how many messages had come before it, and the cursor that it began after."""

    def take(self, batch: Batch) -> None:
        paused = self.subscription.paused
        delivery = self.subscription.take(batch)
        if delivery is None:
            return
        assert not paused
        peer = Connection(ConnectionType.CLIENT)
        peer.receive_data(delivery.data)
        messages = [json.loads(one.data) for one in peer.events() if isinstance(one, TextMessage)]
        assert len(messages) == delivery.messages
        self.got += messages


class HandOff(RuleBasedStateMachine):
    clients: Bundle[Client] = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[BlockEvents] = []
        self.all: list[Client] = []
        self.queue: list[BlockEvents] = []

    @property
    def head(self) -> int:
        return len(self.blocks)

    # -- the chain

    @rule(owners=st.lists(st.sampled_from(OWNERS), max_size=4))
    def commit(self, owners: list[str]) -> None:
        height = self.head + 1
        events = tuple(event(f"{height}/{index}", owners=[owner]) for index, owner in enumerate(owners))
        block = BlockEvents(height, hash_of(str(height)), events)
        self.blocks.append(block)
        self.queue.append(block)

    @rule(count=st.integers(1, 4), reached=st.sets(st.integers(0, 9)))
    def hand_out(self, count: int, reached: set[int]) -> None:
        """Some queued blocks as one batch; by chance some subscribers are reached and others are not."""
        if not self.queue:
            return
        batch = Batch(tuple(self.queue[:count]))
        del self.queue[:count]
        for number, client in enumerate(self.all):
            if number in reached:
                client.take(batch)

    @rule(count=st.integers(1, 4))
    def hand_out_to_all(self, count: int) -> None:
        self.hand_out(count, set(range(len(self.all))))

    @rule(count=st.integers(1, 4))
    def lose_queued_blocks(self, count: int) -> None:
        """The fan-out cannot keep up and leaves the oldest blocks to history."""
        del self.queue[:count]

    # -- subscribers

    def view(self, stream: str, wanted: Filter, cursors: bool) -> View:
        return View(STREAMS[stream], wanted, cursors, False, LABEL)

    @rule(
        target=clients,
        stream=st.sampled_from(sorted(STREAMS)),
        wanted=st.sampled_from(FILTERS),
        cursors=st.booleans(),
    )
    def join_live(self, stream: str, wanted: Filter, cursors: bool) -> Client:
        return self.joined(self.view(stream, wanted, cursors), Position(self.head))

    @rule(
        target=clients,
        stream=st.sampled_from(sorted(STREAMS)),
        wanted=st.sampled_from(FILTERS),
        height=st.integers(0, 30),
        skip=st.integers(0, 4),
    )
    def join_anywhere(self, stream: str, wanted: Filter, height: int, skip: int) -> Client:
        if height >= self.head or skip > len(self.blocks[height].events):
            skip = 0
        return self.joined(self.view(stream, wanted, True), Position(height, skip))

    @rule(target=clients, client=clients)
    def join_beside(self, client: Client) -> Client:
        """With the same view and at the same place as another, but with another message before."""
        return self.joined(client.view, client.subscription.position)

    def joined(self, view: View, start: Position) -> Client:
        client = Client(view, start, Subscription(view, start))
        client.joined_with.append((0, client.subscription.cursor))
        self.all.append(client)
        return client

    @rule(client=clients)
    def pause(self, client: Client) -> None:
        client.subscription.paused = True

    @rule(client=clients)
    def resume(self, client: Client) -> None:
        client.subscription.paused = False

    @rule(client=clients)
    def cut_and_come_back(self, client: Client) -> None:
        """The client stores its last cursor; without cursors the node's close reason told it where it stood."""
        stored = client.subscription.cursor
        if client.view.cursors:
            stored = str(client.got[-1]["cursor"]) if client.got else client.joined_with[-1][1]
        client.subscription.close()
        client.subscription = Subscription(client.view, parse_cursor(stored, LABEL))
        client.joined_with.append((len(client.got), stored))

    # -- history

    @rule(client=clients, most=st.integers(1, 6))
    def read_page(self, client: Client, most: int) -> None:
        height = client.subscription.needs(self.head)
        if height is not None:
            client.pages.append(Batch(page(self.blocks, height, most)))

    @rule(client=clients, again=st.booleans())
    def page_arrives(self, client: Client, again: bool) -> None:
        """A page may come late, when live blocks have overtaken it, and may come twice."""
        if client.pages:
            client.take(client.pages[-1])
            if not again:
                client.pages.pop()

    # -- what must hold

    def expected(self, client: Client) -> list[object]:
        position = client.start
        if client.view.stream.name == "valid_blocks":
            chosen = []
            for block in self.blocks[position.height :]:
                ids = [one.transaction_id for one in block.events if client.view.filter.matches(one)]
                if ids or client.view.filter is EVERYTHING:
                    chosen.append((block.height, tuple(ids)))
            return list(chosen)
        found: list[object] = []
        for block in self.blocks[position.height :]:
            skip = position.skip if block.height == position.height + 1 else 0
            rest: tuple[TransactionEvent, ...] = block.events[skip:]
            found += [(block.height, one.transaction_id) for one in rest if client.view.filter.matches(one)]
        return found

    def seen(self, client: Client) -> list[object]:
        if client.view.stream.name == "valid_blocks":
            return [(m["height"], tuple(m["transaction_ids"])) for m in client.got]  # type: ignore[arg-type]
        return [(m["height"], m["transaction_id"]) for m in client.got]

    @invariant()
    def what_came_so_far_is_the_beginning_of_what_must_come(self) -> None:
        for client in self.all:
            seen = self.seen(client)
            assert seen == self.expected(client)[: len(seen)]

    @invariant()
    def previous_leads_from_each_message_to_the_one_before(self) -> None:
        for client in self.all:
            if not client.view.cursors:
                continue
            began = dict(client.joined_with)
            before = ""
            for number, message in enumerate(client.got):
                assert message["previous"] == began.get(number, before)
                before = str(message["cursor"])

    def teardown(self) -> None:
        for client in self.all:
            client.subscription.paused = False
            while (height := client.subscription.needs(self.head)) is not None:
                client.take(Batch(page(self.blocks, height, 5)))
            assert self.seen(client) == self.expected(client)


TestHandOff = HandOff.TestCase
TestHandOff.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
