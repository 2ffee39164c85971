# SPDX-License-Identifier: AGPL-3.0-or-later
"""The streams that there are: one entry each, with the encoder that turns a block into messages.

To add a stream, write its encoder and one line in `STREAMS`. Message keys are those of event-stream 3; ids and
hashes are lower-case hex and labels plain ASCII, so that no text needs escaping.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from planetmint.model.block import BlockEvents
from planetmint.streams.cursor import block_cursor
from planetmint.streams.filters import EVERYTHING, Filter

ROOT = "/api/v1/streams/"

Encoded = tuple[list[str], str]
"""Messages of one block in order, and the cursor of the last one (or `previous` where there is none)."""

Encoder = Callable[[BlockEvents, "View", int, str], Encoded]
"""Turns a block into messages: `encode(block, view, skip, previous)`.

`skip` transactions of the block were sent before; `previous` is the cursor of the message before, and is only
looked at where `view.cursors`.
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream; `name` is the last part of its path."""

    name: str
    encode: Encoder

    @property
    def path(self) -> str:
        """Path of its URL."""
        return ROOT + self.name


@dataclass(frozen=True, slots=True)
class View:
    """How a subscriber wants to see a stream; subscribers with equal views share the encoded bytes.

    Attributes:
        stream: Which one.
        filter: Which transactions.
        cursors: Whether messages carry cursors (EX-8).
        empty: Whether blocks without a wanted transaction are sent (valid_blocks).
        label: Of the chain.
        key: Text that is equal for equal views, so that look-ups need not compare filters.
    """

    stream: Stream
    filter: Filter
    cursors: bool
    empty: bool
    label: str
    key: str = field(init=False)

    def __post_init__(self) -> None:
        options = f"{self.stream.name};{self.cursors:d};{self.empty:d};{self.label};"
        object.__setattr__(self, "key", options + self.filter.key)


def _encode_transactions(block: BlockEvents, view: View, skip: int, previous: str) -> Encoded:
    height, wanted = block.height, view.filter
    everything = wanted is EVERYTHING
    if not view.cursors:
        return [
            f'{{"height":{height},"asset_id":"{event.asset_id}","asset_ids":["{_join(event.asset_ids)}"],'
            f'"transaction_id":"{event.transaction_id}"}}'
            for event in (block.events[skip:] if skip else block.events)
            if everything or wanted.matches(event)
        ], previous
    texts = []
    prefix = f"{view.label}.{height}."
    for index in range(skip, len(block.events)):
        event = block.events[index]
        if not (everything or wanted.matches(event)):
            continue
        cursor = f"{prefix}{index}"
        texts.append(
            f'{{"height":{height},"asset_id":"{event.asset_id}","asset_ids":["{_join(event.asset_ids)}"],'
            f'"transaction_id":"{event.transaction_id}",'
            f'"index":{index},"cursor":"{cursor}","previous":"{previous}"}}'
        )
        previous = cursor
    return texts, previous


def _encode_blocks(block: BlockEvents, view: View, skip: int, previous: str) -> Encoded:
    # A reader that stands inside a block has not had the block's message: it is sent whole whatever `skip` is.
    wanted = view.filter
    ids = [event.transaction_id for event in block.events if wanted is EVERYTHING or wanted.matches(event)]
    if not ids and not view.empty and wanted is not EVERYTHING:
        return [], previous
    listed = f'"{_join(ids)}"' if ids else ""
    text = f'{{"height":{block.height},"hash":"{block.app_hash}","transaction_ids":[{listed}]'
    if not view.cursors:
        return [text + "}"], previous
    cursor = block_cursor(view.label, block.height)
    return [f'{text},"cursor":"{cursor}","previous":"{previous}"}}'], cursor


_join = '","'.join

STREAMS = {
    stream.name: stream
    for stream in (
        Stream("valid_transactions", _encode_transactions),
        Stream("valid_blocks", _encode_blocks),
    )
}
"""By name."""
