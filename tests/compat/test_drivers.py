# SPDX-License-Identifier: AGPL-3.0-or-later
"""The published client drivers, unmodified, against a running node: one test per driver and step of its story."""

from collections.abc import Callable

import pytest

from tests.compat.conftest import NodeUnderTest, advertised_stream
from tests.compat.drivers import DRIVERS, ProgramRun

STEPS = [(name, step) for name, driver in DRIVERS.items() for step in driver.steps]

# The first test of a driver also builds its environment, which may have to download a Java tool chain.
pytestmark = pytest.mark.timeout(1200)


@pytest.mark.parametrize(("driver", "step"), STEPS, ids=[f"{name}-{step}" for name, step in STEPS])
def test_published_driver_gets_through_the_step(
    driver: str, step: str, program_runs: Callable[[str], ProgramRun]
) -> None:
    run = program_runs(driver)
    assert step in run.steps, f"{driver} never came to {step!r}\n{run.output}"
    assert run.steps[step]["ok"], f"{run.steps[step].get('error')}\n{run.output}"


@pytest.mark.parametrize("driver", DRIVERS)
def test_program_of_the_driver_has_exactly_the_steps_that_are_tested(
    driver: str, program_runs: Callable[[str], ProgramRun]
) -> None:
    run = program_runs(driver)
    assert run.returncode == 0, run.output
    assert sorted(run.steps) == sorted(DRIVERS[driver].steps)


def test_node_advertises_the_stream_that_every_program_opens(node: NodeUnderTest) -> None:
    assert advertised_stream(node.base_url) == node.stream_url
