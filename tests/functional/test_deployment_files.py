# SPDX-License-Identifier: AGPL-3.0-or-later
"""Units, scripts, container and compose files, each held against the program that judges its kind."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deploy_tools import tools

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
SCRIPTS = [
    ROOT / name
    for name in (
        "deploy/install",
        "deploy/go-toolchain",
        "deploy/contract-engine",
        "deploy/container/found-network",
    )
]
COMPOSE = sorted((ROOT / "deploy/container").glob("compose*.yaml"))
MOST_EXPOSED = 2.0
"""On systemd's scale from 0 (nothing) to 10 (everything)."""


def run(*words: str | Path, path: str = os.environ["PATH"]) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=ROOT, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}"
    return done.stdout


def rendered(file: Path) -> dict[str, Any]:
    folder = tools()
    text = run(folder / "podman-compose", "-f", file, "config", path=f"{folder}:{os.environ['PATH']}")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_there_are_units_scripts_and_compose_files() -> None:
    assert {unit.name for unit in UNITS} == {
        "planetmint.service",
        "planetmint-tarantool.service",
        "cometbft.service",
    }
    assert [file.name for file in COMPOSE] == ["compose.network.yaml", "compose.yaml"]
    assert all(os.access(script, os.X_OK) for script in SCRIPTS)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_service_manager_takes_a_unit_without_a_word(unit: Path, tmp_path: Path) -> None:
    # The programs that it starts are looked for, so they are put where the copy says.
    programs = re.findall(r"/opt/planetmint/\S+", unit.read_text())
    for program in programs:
        place = tmp_path / program.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("#!/bin/sh\n")
        place.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/planetmint/", f"{tmp_path}/opt/planetmint/"))
    told = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy)
    assert [line for line in told.splitlines() if unit.name in line] == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_leaves_its_service_little_that_it_could_harm(unit: Path) -> None:
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert float(exposure) <= MOST_EXPOSED


def test_scripts_have_no_known_slips() -> None:
    run(tools() / "shellcheck", *SCRIPTS, ROOT / ".ci/run", ROOT / ".ci/packages")


def test_the_containerfile_has_no_known_slips() -> None:
    assert run(tools() / "hadolint", ROOT / "deploy/container/Containerfile") == ""


def test_compose_renders_one_complete_node_with_its_data_in_a_volume() -> None:
    document = rendered(ROOT / "deploy/container/compose.yaml")
    (service,) = document["services"].values()
    assert service["volumes"] == ["data:/var/lib/planetmint"]
    assert service["ports"] == ["127.0.0.1:9984:9984", "127.0.0.1:9985:9985"]
    assert service["healthcheck"]["test"] == ["CMD", "healthy"]


def test_compose_renders_four_nodes_that_wait_for_their_founding() -> None:
    services = rendered(ROOT / "deploy/container/compose.network.yaml")["services"]
    found = services.pop("found")
    assert set(services) == {"node1", "node2", "node3", "node4"}
    ports = [port for service in services.values() for port in service["ports"]]
    assert len(set(ports)) == 8
    for name, service in services.items():
        assert service["depends_on"]["found"] == {"condition": "service_completed_successfully"}
        assert service["environment"]["PLANETMINT_TENDERMINT_EXTERNAL_ADDRESS"] == f"{name}:26656"
        assert service["volumes"] == [f"{name}:/var/lib/planetmint"]
        assert f"{name}:/nodes/{name}" in found["volumes"]
        assert f"/nodes/{name}" in found["command"][0]


def test_the_image_exposes_the_ports_and_keeps_the_volume_of_the_published_ones() -> None:
    """cli-and-config 4."""
    text = (ROOT / "deploy/container/Containerfile").read_text()
    assert "EXPOSE 9984 9985 26656 26657" in text
    assert "VOLUME /var/lib/planetmint" in text


def test_a_whole_network_is_founded_by_the_script_of_the_image(tmp_path: Path) -> None:
    """And a second call changes nothing, as when compose is started again."""
    folder = tmp_path / "n"
    nodes = [folder / f"node{number}" for number in range(1, 5)]
    for node in nodes:
        node.mkdir(parents=True)
    environment = {
        "PATH": f"{ROOT / '.venv/bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(tmp_path),
        "PLANETMINT_CONSENSUS_ENGINE": "cometbft",
        "PLANETMINT_DATABASE_BACKEND": "sqlite",
    }
    for _ in range(2):
        words = [str(ROOT / "deploy/container/found-network"), *map(str, nodes)]
        done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        files = {(node / "cometbft/config/genesis.json").read_bytes() for node in nodes}
        assert len(files) == 1
    for node in nodes:
        settings = (node / "cometbft/config/config.toml").read_text()
        (peers,) = re.findall(r'^persistent_peers = "(.*)"$', settings, re.MULTILINE)
        assert {f"{other.name}:26656" for other in nodes if other != node} <= set(re.findall(r"@([^,]+)", peers))
