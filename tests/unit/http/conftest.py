# SPDX-License-Identifier: AGPL-3.0-or-later
"""A server with a small ledger behind it, for each test its own."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.http.world import StubApplication, World, fill, served


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with served(StubApplication()) as made:
        await fill(made.application.store, made.story.blocks)
        yield made
