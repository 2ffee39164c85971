# SPDX-License-Identifier: AGPL-3.0-or-later
"""A part of `make e2e` for every run: four validators with Tarantool, a fault of each kind on one network."""

import base64
import random
from collections.abc import Iterator

import pytest

from planetmint.testing.build import Builder, Dialect
from tests.e2e.faults import one_node, two_halves
from tests.support.network import Network

_PAUSE = 4.0

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Network(tmp_path_factory.mktemp("faults"), 4, backend="tarantool_db", links=True) as running:
        yield running


@pytest.mark.parametrize(
    ("fault", "index"),
    [
        ("node killed (kill -9)", 0),
        ("engine killed (kill -9)", 1),
        ("database killed (kill -9)", 2),
        ("node paused", 3),
        ("cut off", 0),
    ],
)
def test_three_of_four_go_on_and_the_fourth_comes_back_alike(network: Network, fault: str, index: int) -> None:
    outcome = one_node(network, fault, index, _PAUSE)
    assert outcome.during >= 5


def test_two_halves_stand_still_and_go_on_together(network: Network) -> None:
    two_halves(network, _PAUSE)


def test_any_bytes_at_the_engines_rpc_get_a_code_and_end_nobody(network: Network) -> None:
    chance = random.Random(4)
    good = Builder(Dialect.PLANETMINT_2).create("alice", data="mutated").canonical
    bodies = [b"", b"\x00", b"{", b"null", b"[" * 10_000, good[:-1], good + b" ", b'{"a":NaN}', b"\xff\xfe" * 500]
    for _ in range(100):
        text = bytearray(good)
        text[chance.randrange(len(text))] ^= 1 << chance.randrange(8)
        bodies.append(bytes(text))
    for number, body in enumerate(bodies):
        node = network.nodes[number % 4]
        answer = node.rpc("broadcast_tx_sync", tx=base64.b64encode(body).decode())
        assert answer["code"] != 0, body
        assert answer["log"], "a refusal says why"
    after = Builder(Dialect.PLANETMINT_2).create("alice", data="after all of that")
    assert network.nodes[0].post(after).status_code == 202
    network.wait_for(after)
    network.agree()
