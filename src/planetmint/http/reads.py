# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading routes of the ledger. Bodies are put together from canonical JSON, which is not parsed where it
can be passed on as it is.

Source: http-api 4.1, 4.2, 5, 6, 7, 8; `limit` and `cursor` on every list are additions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar, cast

import rapidjson

from planetmint.http.answers import NOT_FOUND, Answer, array, json_answer
from planetmint.http.arguments import (
    ArgumentError,
    boolean,
    one_of,
    public_key,
    text,
    transaction_hash,
    transaction_hashes,
)
from planetmint.http.query import Node, Query
from planetmint.http.settings import BlockView
from planetmint.model.json import JsonObject, canonical
from planetmint.model.search import SearchQuery, parse_search
from planetmint.model.transaction import Operation, OutputRef
from planetmint.ports.store import Found, StoredBlock

T = TypeVar("T")

DEFAULT_BY_CONTENT = 1_000
"""Transactions that a look-up by content answers with where no limit is given (http-api 6.2)."""

LONGEST_SEARCH = 1_000
"""Characters of a search."""

_SLICE = 1_000
_LONGEST_HEIGHT = 18
_OLD_VERSION = b'"version":"2.0"}'
_VIEWS = ("auto", "heights", "block")
_LISTED_OPERATIONS = {"CREATE": Operation.CREATE, "TRANSFER": Operation.TRANSFER}
_read_view = one_of(_VIEWS, 'must be "auto", "heights" or "block"')


async def transaction(node: Node, query: Query) -> Answer:
    """GET /transactions/{id}: a committed transaction as it was signed."""
    transaction_id = query.path["id"].lower()
    found = await node.application.store.transaction(transaction_id) if _is_hash(transaction_id) else None
    return NOT_FOUND if found is None else Answer(200, found)


async def transactions(node: Node, query: Query) -> Answer:
    """GET /transactions: the transactions of one or several assets, in commit order."""
    arguments = query.arguments
    operation = arguments.optional("operation", _read_operation)
    single = arguments.optional("asset_id", transaction_hash)
    several = arguments.all("asset_ids", transaction_hashes)
    last = arguments.optional("last_tx", boolean)
    paging = query.paging()
    asset_ids = ([single] if single else []) + [one for group in several for one in group]
    if not asset_ids:
        arguments.required("asset_id", transaction_hash)
    page = await node.application.store.transactions_by_asset(
        tuple(dict.fromkeys(asset_ids)), operation, last=bool(last), paging=paging
    )
    return Answer(200, array(page.items), query.next_page(page.next))


async def outputs(node: Node, query: Query) -> Answer:
    """GET /outputs: the outputs that list a key, in commit order."""
    arguments = query.arguments
    key = arguments.required("public_key", public_key)
    spent = arguments.optional("spent", boolean)
    paging = query.paging()
    arguments.refuse_others(("public_key", "spent", "limit", "cursor"))
    page = await node.application.store.outputs_by_key(key, spent, paging)
    body = await _joined(page.items, _output)
    return Answer(200, body, query.next_page(page.next))


async def search_assets(node: Node, query: Query) -> Answer:
    """GET /assets?search=: asset data that holds the words, best match first."""
    words = _search(query)
    page = await node.application.store.search_assets(words, query.paging())
    return Answer(200, await _joined(page.items, _asset_match), query.next_page(page.next))


async def search_metadata(node: Node, query: Query) -> Answer:
    """GET /metadata?search=: metadata that holds the words, best match first."""
    words = _search(query)
    page = await node.application.store.search_metadata(words, query.paging())
    return Answer(200, await _joined(page.items, _metadata_match), query.next_page(page.next))


async def assets_by_content(node: Node, query: Query) -> Answer:
    """GET /assets/{cid}: all assets of the transactions that hold this content."""
    page = await node.application.store.assets_by_content(query.path["cid"], query.paging(DEFAULT_BY_CONTENT))
    return Answer(200, await _joined(page.items, _assets_of), query.next_page(page.next))


async def metadata_by_content(node: Node, query: Query) -> Answer:
    """GET /metadata/{cid}: the metadata values that are this content."""
    page = await node.application.store.metadata_by_content(query.path["cid"], query.paging(DEFAULT_BY_CONTENT))
    return Answer(200, await _joined(page.items, _metadata_of), query.next_page(page.next))


async def block(node: Node, query: Query) -> Answer:
    """GET /blocks/{height}: a block with its transactions."""
    digits = query.path["height"].lstrip("0") or "0"
    if len(digits) > _LONGEST_HEIGHT:
        return NOT_FOUND
    store = node.application.store
    height = int(digits)
    stored = await store.block(height)
    if stored is not None:
        return Answer(200, _block(stored))
    head = await store.head()
    if head is None or height > head.height:
        return NOT_FOUND
    return json_answer({"height": height, "transactions": []})


async def latest_block(node: Node, query: Query) -> Answer:
    """GET /blocks/latest: the newest block; its transactions by id."""
    store = node.application.store
    head = await store.head()
    summary = None if head is None else await store.summary(head.height)
    if summary is None:
        return NOT_FOUND
    ids = list(summary.transaction_ids)
    return json_answer(
        {
            "app_hash": summary.header.app_hash,
            "height": summary.header.height,
            "transaction_ids": [*ids],
            "transactions": [*ids],
        }
    )


async def blocks(node: Node, query: Query) -> Answer:
    """GET /blocks?transaction_id=: where a transaction was committed, in the form of its generation."""
    arguments = query.arguments
    wanted = arguments.required("transaction_id", text)
    view = cast(BlockView | None, arguments.optional("view", _read_view)) or node.settings.block_by_transaction
    arguments.refuse_others(("transaction_id", "view"))
    store = node.application.store
    transaction_id = wanted.lower()
    height = await store.height_of(transaction_id) if _is_hash(transaction_id) else None
    if height is not None and view == "auto":
        view = await _view_of(node, transaction_id)
    if view == "block":
        return await _block_of(node, wanted, height)
    return json_answer([] if height is None else [height])


async def validators(node: Node, query: Query) -> Answer:
    """GET /validators: the newest stored validator set."""
    return json_answer([validator.to_json() for validator in await node.application.store.validators()])


def _read_operation(value: str) -> Operation:
    try:
        return _LISTED_OPERATIONS[value.upper()]
    except KeyError:
        raise ValueError('Operation must be "CREATE" or "TRANSFER"') from None


def _search(query: Query) -> SearchQuery:
    """The words of a search. Raises ArgumentError: absent, empty or too long."""
    words = query.arguments.required("search", text)
    if not words:
        raise ArgumentError("text_search cannot be empty")
    if len(words) > LONGEST_SEARCH:
        raise ArgumentError(f"must have at most {LONGEST_SEARCH} characters", "search")
    return parse_search(words)


async def _view_of(node: Node, transaction_id: str) -> BlockView:
    """The form that drivers of a transaction's generation expect (http-api 7.3)."""
    found = await node.application.store.transaction(transaction_id)
    # `version` is the last member of a transaction in canonical order.
    return "heights" if found is not None and found.endswith(_OLD_VERSION) else "block"


async def _block_of(node: Node, wanted: str, height: int | None) -> Answer:
    summary = None if height is None else await node.application.store.summary(height)
    if summary is None:
        return json_answer(
            {"message": f"Block containing transaction with id: {wanted[:100]} not found.", "status": 404}, 404
        )
    return json_answer(
        {
            "app_hash": summary.header.app_hash,
            "height": summary.header.height,
            "transaction_ids": list(summary.transaction_ids),
        }
    )


def _block(stored: StoredBlock) -> bytes:
    header = stored.summary.header
    ids = array(b'"%b"' % one.encode("ascii") for one in stored.summary.transaction_ids)
    return b'{"height":%d,"app_hash":"%b","transaction_ids":%b,"transactions":%b}' % (
        header.height,
        header.app_hash.encode("ascii"),
        ids,
        array(stored.transactions),
    )


def _is_hash(value: str) -> bool:
    try:
        transaction_hash(value)
    except ValueError:
        return False
    return True


async def _joined(items: Sequence[T], render: Callable[[T], bytes]) -> bytes:
    """A JSON array of rendered items; empty renderings are left out. Lets others run between slices."""
    return array([part async for part in _rendered(items, render) if part])


async def _rendered(items: Sequence[T], render: Callable[[T], bytes]) -> AsyncIterator[bytes]:
    for start in range(0, len(items), _SLICE):
        if start:
            await asyncio.sleep(0)
        yield b",".join(filter(None, map(render, items[start : start + _SLICE])))


def _output(ref: OutputRef) -> bytes:
    return b'{"transaction_id":"%b","output_index":%d}' % (ref.transaction_id.encode("ascii"), ref.output_index)


def _asset_match(found: Found) -> bytes:
    identity = found.transaction_id.encode("ascii")
    return b",".join(
        b'{"data":%b,"id":"%b"}' % (canonical(asset["data"]), identity)
        for asset in _assets(_parsed(found))
        if "data" in asset
    )


def _metadata_match(found: Found) -> bytes:
    return b'{"metadata":%b,"id":"%b"}' % (_metadata_of(found), found.transaction_id.encode("ascii"))


def _assets_of(found: Found) -> bytes:
    return b",".join(map(canonical, _assets(_parsed(found))))


def _metadata_of(found: Found) -> bytes:
    return canonical(_parsed(found).get("metadata"))


def _assets(transaction: JsonObject) -> list[JsonObject]:
    """The asset objects of a transaction of any dialect."""
    assets = transaction["asset"] if "asset" in transaction else transaction.get("assets")
    return cast(list[JsonObject], assets if isinstance(assets, list) else [assets] if assets else [])


def _parsed(found: Found) -> JsonObject:
    return cast(JsonObject, rapidjson.loads(found.canonical, number_mode=rapidjson.NM_NONE))
