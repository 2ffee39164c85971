# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Tarantool store against the contract, with a real server."""

from collections.abc import Iterator

import pytest

from planetmint.storage.tarantool import TarantoolStore, drop
from planetmint.testing.store_conformance import STORE_CHECKS, StoreCheck
from tests.support.tarantool import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("tarantool")) as started:
        yield started


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_tarantool_store(check: StoreCheck, server: Server) -> None:
    await drop(server.address)
    await check(lambda: TarantoolStore(server.address))
