# SPDX-License-Identifier: AGPL-3.0-or-later
"""The load's transactions are made without the node's code, so they are held against the written example."""

from pathlib import Path

import base58
import pytest
import rapidjson
from nacl.signing import SigningKey, VerifyKey

from bench import mix, transactions
from planetmint.model.parameters import ChainParameters, ContractParameters
from planetmint.rules import decode_transaction


def silent(done: int, total: int) -> None:
    """Nobody watches the progress of a test."""


def test_a_signed_create_is_the_worked_example_of_the_specification() -> None:
    # Source: spec transactions 4.4.
    key = SigningKey(base58.b58decode("Haka2uTrBjzwBpwp8NJd23H1UwutjGGDyL5haZrjseBD"))
    text = transactions.signed_create(key, {"n": 1}, None)
    found = rapidjson.loads(text)
    assert found["id"] == "7c130673ae038e98e9d2b5682349486d1df72c5ec35c15bf230223bcc8f409b0"
    assert found["inputs"][0]["fulfillment"] == (
        "pGSAIKbBwPVgH2EWnNf73rGmEbRXzMYiTIXI6YgJ0vu4APG3gUCnbveKKOj6MQ613IyZaTZBS5Ca50KyCQnse8R0VnJkZS-2qqGswDGNmpQ1"
        "-mTKeBjUKqPHSvuaTOg3DpqdKsAC"
    )
    assert transactions.transaction_id(text) == found["id"]


def test_transactions_are_about_800_bytes_and_all_different() -> None:
    texts = [transactions.create(index) for index in range(50)]
    assert all(750 <= len(text) <= 850 for text in texts)
    assert len({transactions.transaction_id(text) for text in texts}) == 50
    keys = {rapidjson.loads(text)["outputs"][0]["public_keys"][0] for text in texts}
    assert keys == {transactions.public_key(index) for index in range(50)}
    for key in keys:
        VerifyKey(base58.b58decode(key))


def test_a_key_whose_text_would_be_too_short_is_not_used() -> None:
    # Its first candidate begins with two zero bytes.
    index = 74818
    assert 43 <= len(transactions.public_key(index)) <= 44


def test_a_file_is_made_once_and_serves_every_smaller_demand(tmp_path: Path) -> None:
    path = transactions.cached_file(30, tmp_path, silent)
    before = path.stat().st_mtime_ns
    assert transactions.cached_file(20, tmp_path, silent) == path
    assert path.stat().st_mtime_ns == before
    assert transactions.read_transactions(path, 10, 20) == [transactions.create(index) for index in range(10, 30)]


def test_asking_a_file_for_more_than_it_has_is_an_error(tmp_path: Path) -> None:
    path = transactions.write_file(tmp_path / "few.ndjson", 7, 3, silent)
    assert transactions.read_transactions(path, 0, 3)[0] == transactions.create(7)
    with pytest.raises(ValueError, match="only 3 transactions"):
        transactions.read_transactions(path, 2, 2)


def test_contracts_of_the_load_take_one_run_each_and_are_told_by_their_ids() -> None:
    parameters = ChainParameters(contracts=ContractParameters("bound", "on", "an engine"))
    parent, lines = mix._group(3)
    made = decode_transaction(parent, parameters)
    found = [decode_transaction(line, parameters) for line in lines.splitlines()]
    assert [item.contracts for item in found] == [1] * 200
    assert [item.operation.value for item in found[:2]] == ["CREATE", "TRANSFER"]
    assert {item.spends[0] for item in found[1::2]} == {(made.id, index) for index in range(100)}
    assert [transactions.transaction_id(line) for line in lines.splitlines()] == [item.id for item in found]


def test_each_tenth_of_the_mix_has_a_contract(tmp_path: Path) -> None:
    usual, other = tmp_path / "usual", tmp_path / "other"
    usual.write_bytes(b"".join(b"u%d\n" % number for number in range(100)))
    other.write_bytes(b"".join(b"c%d\n" % number for number in range(10)))
    mixed = mix._mixed_file(tmp_path / "mixed", usual, 7, other, 3, 20).read_bytes().split()
    assert (mixed[9], mixed[19]) == (b"c3", b"c4")
    assert mixed[:9] + mixed[10:19] == [b"u%d" % number for number in range(7, 25)]
