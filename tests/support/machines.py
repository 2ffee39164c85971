# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several machines in one: each with a name, an address, ports, processes and files of its own, and a shell.

They are made of namespaces, so they need root. On each the programs of this checkout are installed; `/var/lib` and
the home folder are its own, all else is this machine's. Two programs are played: `systemctl` starts and stops
what the unit runs, and `scp FILE NAME:` copies to the home folder of another machine.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0
"""Seconds that one command may take."""

_NETWORK = "10.77.0"
_DONE = "--- this command has ended:"

_SYSTEMCTL = r"""#!/bin/bash
# Plays the service manager for one unit: what it starts, how it stops it, that `start` waits until it is ready.
set -euo pipefail
[ "${2:-}" = planetmint ] || { echo "unknown unit" >&2; exit 1; }
pid=$(cat "$HOME/unit.pid" 2>/dev/null || true)
runs() { [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; }
stop() { if runs; then kill "$pid"; while runs; do sleep 0.1; done; fi; }
start() {
  runs && return
  setsid planetmint start >>"$HOME/unit.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$HOME/unit.pid"
  until curl -sf -o /dev/null localhost:9984/; do
    runs || { tail -n 20 "$HOME/unit.log" >&2; exit 1; }
    sleep 0.1
  done
}
case $1 in
  start) start ;;
  stop) stop ;;
  restart) stop; start ;;
  enable | disable) ;;
  *) echo "unknown command" >&2; exit 1 ;;
esac
"""

_SCP = r"""#!/bin/bash
set -euo pipefail
cp "$1" "$MACHINES/${2%:}/home/"
"""


class CommandFailed(AssertionError):
    """A command on a machine ended with another code than 0; the text holds what it printed."""


class Machine:
    """One machine. Made by `Machines`."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        self.name = name
        self.folder = folder / name
        self.address = f"{_NETWORK}.{number}"
        self.pid = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> str:
        """What its node has logged."""
        path = self.folder / "home" / "unit.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def boot(self, environment: dict[str, str]) -> None:
        """Start its first process, a shell that takes commands."""
        for name in ("home", "lib/planetmint"):
            (self.folder / name).mkdir(parents=True)
        script = "; ".join(
            [
                "set -e",
                f"mount --bind {self.folder}/lib /var/lib",
                f"mount --bind {self.folder.parent}/hosts /etc/hosts",
                f"hostname {self.name}",
                "ip link set lo up",
                f"cd {self.folder}/home",
                "set +e",
                "exec bash --noprofile --norc",
            ]
        )
        spaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
        self._process = subprocess.Popen(
            ["unshare", *spaces, "bash", "-c", script],
            env=environment | {"HOME": f"{self.folder}/home"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.run(":")
        own = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        self.pid = int(Path(own).read_text().split()[0])

    def run(self, command: str) -> str:
        """Type a command into its shell; what it prints, errors included.

        Raises:
            CommandFailed: It ended with another code than 0, or not in time.
        """
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{command}\necho; echo '{_DONE}' $?\n")
        process.stdin.flush()
        lines: list[str] = []
        # A command that hangs ends with its machine, and its output then.
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        try:
            for line in process.stdout:
                if line.startswith(_DONE):
                    code = int(line.rpartition(" ")[2])
                    printed = "".join(lines).rstrip("\n")
                    if code != 0:
                        raise CommandFailed(f"{self.name}$ {command}\n{printed}\nended with {code}")
                    return printed
                lines.append(line)
        finally:
            alarm.cancel()
        raise CommandFailed(f"{self.name}$ {command}\n{''.join(lines)}\nThe machine has ended.")

    def beside(self, *words: str) -> str:
        """Run a program of the test on this machine's network; what it prints.

        Raises:
            CommandFailed: As `run`.
        """
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), "--net", *words],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
        if done.returncode != 0:
            raise CommandFailed(f"{self.name}$ {' '.join(words)}\n{done.stdout}\nended with {done.returncode}")
        return done.stdout

    def end(self) -> None:
        """Switch it off."""
        if self._process is None:
            return
        self._process.kill()  # and with it its first process, and with that all of them
        self._process.communicate()
        deadline = time.monotonic() + 30
        while self.pid and Path(f"/proc/{self.pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)


class Machines:
    """A context manager: machines that reach one another by name, and nothing else.

    Args:
        folder: For their files; a short name, because sockets are made below it.
        names: Of the machines.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.by_name = {name: Machine(folder, name, number) for number, name in enumerate(names, 1)}
        self._stack = contextlib.ExitStack()

    def __getitem__(self, name: str) -> Machine:
        return self.by_name[name]

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "machines are made of namespaces, which needs root"
        with contextlib.ExitStack() as stack:
            self._boot(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _boot(self, stack: contextlib.ExitStack) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        programs = self.folder / "programs"
        programs.mkdir()
        for name, text in {"systemctl": _SYSTEMCTL, "scp": _SCP}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        hosts = [f"{one.address} {one.name} {one.name}.example.com\n" for one in self.by_name.values()]
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(hosts))
        environment = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "MACHINES": str(self.folder),
        }
        switch = subprocess.Popen(
            [
                "unshare",
                "--net",
                "bash",
                "-c",
                "ip link add br0 type bridge && ip link set br0 up && echo up && exec cat",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stack.callback(switch.communicate)
        stack.callback(switch.kill)
        assert switch.stdout is not None
        assert switch.stdout.readline() == b"up\n"
        for number, machine in enumerate(self.by_name.values()):
            stack.callback(machine.end)
            own = {"PLANETMINT_CONFIG_PATH": f"{machine.folder}/planetmint.json"}
            machine.boot(environment | own)
            cable = f"netns {machine.pid} type veth peer name port{number} netns {switch.pid}".split()
            subprocess.run(["ip", "link", "add", "name", "eth0", *cable], check=True)
            machine.run(f"ip address add {machine.address}/24 dev eth0 && ip link set eth0 up")
            subprocess.run(
                ["nsenter", "--target", str(switch.pid), "--net", "ip", "link", "set", f"port{number}", "master",
                 "br0", "up"],
                check=True,
            )  # fmt: skip
