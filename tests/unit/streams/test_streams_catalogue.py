# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages: their keys, their values, their order."""

import json

from planetmint.model.block import BlockEvents
from planetmint.model.transaction import Operation
from planetmint.streams.catalogue import STREAMS, View
from planetmint.streams.filters import EVERYTHING, Filter, parse_filter
from tests.unit.streams.world import LABEL, event, hash_of, key_of

ONE = event("one")
TWO = event("two", operation=Operation.TRANSFER, assets=["car"], owners=["bob"])
MANY = event("many", operation=Operation.COMPOSE, assets=["x", "y", "z"])
BLOCK = BlockEvents(42, hash_of("app"), (ONE, TWO, MANY))


def view(name: str, wanted: Filter = EVERYTHING, *, cursors: bool = False, empty: bool = False) -> View:
    return View(STREAMS[name], wanted, cursors, empty, LABEL)


def messages(
    seen: View, block: BlockEvents = BLOCK, skip: int = 0, previous: str = "start"
) -> list[dict[str, object]]:
    texts, _ = seen.stream.encode(block, seen, skip, previous)
    return [json.loads(text) for text in texts]


def test_es_20_one_message_per_transaction_of_any_operation() -> None:
    block = BlockEvents(1, "", tuple(event(operation, operation=operation) for operation in Operation))
    ids = [message["transaction_id"] for message in messages(view("valid_transactions"), block)]
    assert ids == [hash_of(operation) for operation in Operation]


def test_es_21_es_25_transaction_messages_have_exactly_these_members() -> None:
    assert messages(view("valid_transactions")) == [
        {
            "height": 42,
            "asset_id": hash_of("one"),
            "asset_ids": [hash_of("one")],
            "transaction_id": hash_of("one"),
        },
        {
            "height": 42,
            "asset_id": hash_of("car"),
            "asset_ids": [hash_of("car")],
            "transaction_id": hash_of("two"),
        },
        {
            "height": 42,
            "asset_id": hash_of("x"),
            "asset_ids": [hash_of("x"), hash_of("y"), hash_of("z")],
            "transaction_id": hash_of("many"),
        },
    ]


def test_es_25_keys_come_in_the_documented_order() -> None:
    texts, _ = STREAMS["valid_transactions"].encode(BLOCK, view("valid_transactions"), 0, "")
    assert list(json.loads(texts[0])) == ["height", "asset_id", "asset_ids", "transaction_id"]


def test_es_26_one_block_message_with_app_hash_and_ids() -> None:
    assert messages(view("valid_blocks")) == [
        {
            "height": 42,
            "hash": hash_of("app"),
            "transaction_ids": [hash_of("one"), hash_of("two"), hash_of("many")],
        }
    ]


def test_es_26_empty_blocks_have_a_message_too() -> None:
    empty = BlockEvents(43, hash_of("app"), ())
    assert messages(view("valid_blocks"), empty) == [{"height": 43, "hash": hash_of("app"), "transaction_ids": []}]
    assert messages(view("valid_transactions"), empty) == []


def test_filters_choose_transactions() -> None:
    bobs = parse_filter([("public_key", key_of("bob"))])
    assert [m["transaction_id"] for m in messages(view("valid_transactions", bobs))] == [hash_of("two")]


def test_filters_reduce_the_ids_of_a_block() -> None:
    bobs = parse_filter([("public_key", key_of("bob"))])
    (message,) = messages(view("valid_blocks", bobs))
    assert message["transaction_ids"] == [hash_of("two")]


def test_blocks_left_empty_by_a_filter_are_sent_on_demand_only() -> None:
    nobodys = parse_filter([("public_key", key_of("nobody"))])
    assert messages(view("valid_blocks", nobodys)) == []
    (message,) = messages(view("valid_blocks", nobodys, empty=True))
    assert message["transaction_ids"] == []


def test_ex_8_transaction_messages_with_cursors_chain_to_the_one_before() -> None:
    wanted = parse_filter([("transaction_id", f"{ONE.transaction_id},{MANY.transaction_id}")])
    first, second = messages(view("valid_transactions", wanted, cursors=True), previous="c0ffee00.40.7")
    assert (first["index"], first["cursor"], first["previous"]) == (0, "c0ffee00.42.0", "c0ffee00.40.7")
    assert (second["index"], second["cursor"], second["previous"]) == (2, "c0ffee00.42.2", "c0ffee00.42.0")
    assert set(first) == {
        "height", "asset_id", "asset_ids", "transaction_id", "index", "cursor", "previous",
    }  # fmt: skip


def test_ex_8_block_messages_with_cursors() -> None:
    (message,) = messages(view("valid_blocks", cursors=True), previous="c0ffee00.41")
    assert (message["cursor"], message["previous"]) == ("c0ffee00.42", "c0ffee00.41")
    assert "index" not in message


def test_ex_7_transactions_sent_before_are_left_out() -> None:
    (message,) = messages(view("valid_transactions", cursors=True), skip=2, previous="c0ffee00.42.1")
    assert (message["index"], message["previous"]) == (2, "c0ffee00.42.1")
    assert messages(view("valid_transactions"), skip=3) == []


def test_ex_7_a_block_message_is_whole_even_where_the_reader_stood_inside_the_block() -> None:
    (message,) = messages(view("valid_blocks", cursors=True), skip=2)
    assert message["transaction_ids"] == [hash_of("one"), hash_of("two"), hash_of("many")]


def test_es_6_streams_live_under_the_versioned_path() -> None:
    assert {stream.path for stream in STREAMS.values()} == {
        "/api/v1/streams/valid_transactions",
        "/api/v1/streams/valid_blocks",
    }
