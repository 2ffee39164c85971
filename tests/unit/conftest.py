# SPDX-License-Identifier: AGPL-3.0-or-later
"""What every unit test starts from."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def log_as_at_start() -> None:
    """Forget how a test before, or a node in this process, set the log up: `capture_logs` must see every line."""
    structlog.reset_defaults()
