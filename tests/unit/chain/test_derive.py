# SPDX-License-Identifier: AGPL-3.0-or-later
"""What follows from blocks alone is what executing them gave; anything that was changed does not follow."""

from dataclasses import replace
from typing import NamedTuple

import pytest

from planetmint.chain import founding_header, sign_header
from planetmint.chain.derive import Standing, Underivable, derive_block, derive_founding
from planetmint.model.block import BlockHeader, BlockRecord, Founding
from planetmint.model.validator import Validator
from planetmint.ports.store import StateReads, StoredBlock
from planetmint.storage.memory import MemoryStore
from tests.support.chains import PUBLIC, SECRET, Blocks, elected, grow, ordinary


class RecordingStore(MemoryStore):
    """Keeps every record that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[BlockRecord] = []

    async def save_block(self, block: BlockRecord) -> None:
        await super().save_block(block)
        self.records.append(block)


class Chain(NamedTuple):
    """A chain as it was made; `blocks` from height 0 on."""

    founding: Founding
    blocks: list[StoredBlock]
    records: list[BlockRecord]
    store: MemoryStore

    def standing(self, height: int) -> Standing:
        """What stands after a block."""
        standing = derive_founding(self.founding, self.blocks[0].summary.header)
        for summary, raws in self.blocks[1 : height + 1]:
            standing = standing.after(derive_block(standing, summary.header, raws))
        return standing


async def chain_of(signed: bool, blocks: Blocks) -> Chain:
    store = RecordingStore()
    await store.open()
    await grow(store, blocks, signed=signed)
    founding, head = await store.founding(), await store.head()
    assert founding is not None
    assert head is not None
    blocks = [await store.block(height) for height in range(head.height + 1)]
    return Chain(founding, [block for block in blocks if block is not None], store.records, store)


HISTORIES = {"ordinary": ordinary, "elections": elected}


@pytest.fixture(params=[(signed, name) for signed in (True, False) for name in HISTORIES], ids=str)
async def chain(request: pytest.FixtureRequest) -> Chain:
    signed, name = request.param
    return await chain_of(signed, HISTORIES[name]())


async def test_the_derived_blocks_are_those_that_were_executed(chain: Chain) -> None:
    standing = derive_founding(chain.founding, chain.blocks[0].summary.header)
    for (summary, raws), record in zip(chain.blocks[1:], chain.records, strict=True):
        derived = derive_block(standing, summary.header, raws)
        assert derived == record
        standing = standing.after(derived)
    assert standing.counts.transactions == sum(len(block.transactions) for block in chain.blocks)
    assert standing.counts.outputs == sum(len(record.created) for record in chain.records)
    assert standing.counts.spends == sum(len(record.spent) for record in chain.records) > 0


async def test_the_derived_standing_is_what_the_store_holds(chain: Chain) -> None:
    standing = chain.standing(len(chain.blocks) - 1)
    view = await chain.store.read_state(StateReads((), ()))
    assert standing.validators() == view.validators()
    assert standing.validator_changes() == view.validator_changes()
    assert standing.chain() == view.chain()
    assert sorted(standing.elections.values(), key=lambda item: item.election_id) == list(
        await chain.store.elections()
    )


async def test_no_block_follows_with_any_of_its_transactions_changed_left_out_or_moved(chain: Chain) -> None:
    for height, (summary, raws) in enumerate(chain.blocks[1:], 1):
        standing = chain.standing(height - 1)
        variants = [raws[:place] + raws[place + 1 :] for place in range(len(raws))]
        variants += [(*raws, chain.blocks[1].transactions[0])]
        variants += [(b" " + raws[0], *raws[1:]), (*raws[:-1], raws[-1][:-1])] if raws else []
        variants += [raws[::-1]] if len(raws) > 1 else []
        for changed in variants:
            with pytest.raises(Underivable, match=f"block {height}"):
                derive_block(standing, summary.header, changed)


@pytest.mark.parametrize("name", ["height", "time", "previous_hash", "root", "app_hash", "proposer", "signature"])
async def test_no_block_follows_with_a_header_of_which_anything_was_changed(name: str) -> None:
    chain = await chain_of(True, ordinary())
    summary, raws = chain.blocks[2]
    value = getattr(summary.header, name)
    other = value + 1 if isinstance(value, int) else ("1" if value[0] == "0" else "0") + value[1:]
    with pytest.raises(Underivable, match=r"block [23]"):
        derive_block(chain.standing(1), replace(summary.header, **{name: other}), raws)


async def test_where_the_engine_keeps_the_signed_header_the_next_one_tells_of_a_changed_time() -> None:
    chain = await chain_of(False, ordinary())
    standing = chain.standing(1)
    later = replace(chain.blocks[2].summary.header, time=chain.blocks[2].summary.header.time + 1)
    standing = standing.after(derive_block(standing, later, chain.blocks[2].transactions))
    with pytest.raises(Underivable, match=r"block 3 .*previous_hash"):
        derive_block(standing, chain.blocks[3].summary.header, chain.blocks[3].transactions)


async def test_a_block_signed_by_somebody_else_or_by_nobody_does_not_follow() -> None:
    chain = await chain_of(True, ordinary())
    summary, raws = chain.blocks[1]
    stranger = Validator(b"\x11" * 32, 1)
    for header in (
        replace(summary.header, signature=""),
        replace(summary.header, proposer="", signature=""),
        sign_header(replace(summary.header, proposer=stranger.public_key.hex()), SECRET),
    ):
        with pytest.raises(Underivable, match="block 1"):
            derive_block(chain.standing(0), header, raws)


async def test_a_signed_block_does_not_follow_where_the_engine_keeps_the_signed_headers() -> None:
    chain = await chain_of(False, ordinary())
    summary, raws = chain.blocks[1]
    header = sign_header(replace(summary.header, proposer=PUBLIC.hex()), SECRET)
    with pytest.raises(Underivable, match="block 1 is signed"):
        derive_block(chain.standing(0), header, raws)


async def test_times_do_not_go_back(chain: Chain) -> None:
    summary, raws = chain.blocks[2]
    before = chain.blocks[1].summary.header.time
    for time in (before, before - 1):
        header = replace(summary.header, time=time)
        header = sign_header(header, SECRET) if header.signature else header
        with pytest.raises(Underivable, match="not later"):
            derive_block(chain.standing(1), header, raws)


async def test_the_founding_leads_to_its_own_hash_and_block(chain: Chain) -> None:
    founding, header = chain.founding, chain.blocks[0].summary.header
    changed = [
        replace(founding, chain_id="other"),
        replace(founding, validators=(Validator(PUBLIC, 11),)),
        replace(founding, time=founding.time + 1),
        replace(founding, parameters=replace(founding.parameters, max_inputs=7)),
        replace(founding, app_hash="00" * 32),
        replace(founding, label="00000000"),
        replace(founding, chain_id="x" * 51),
        replace(founding, parameters=replace(founding.parameters, rules_version=99)),
    ]
    for wrong in changed:
        with pytest.raises(Underivable):
            derive_founding(wrong, header)
    headers: list[BlockHeader] = [replace(header, time=1), replace(header, height=1), replace(header, root="")]
    headers += [replace(header, proposer="zz"), founding_header(founding, b"\x11" * 32)]
    for damaged in headers[:-1] if not header.signature else headers:
        with pytest.raises(Underivable):
            derive_founding(founding, sign_header(damaged, SECRET) if damaged is headers[-1] else damaged)
