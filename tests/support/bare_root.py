# SPDX-License-Identifier: AGPL-3.0-or-later
"""A bare Debian to install things in: the packages of a fresh minimal system, its own processes, its own ports.

The root is made once by debootstrap from the package sources of this machine and kept as a tar under .cache/. What
a command in it gets from this machine is how packages are reached (sources, proxies, certificates) and caches of
downloads, nothing else: no environment, no programs, no files.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "bare-root"
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SPACES = ("--mount", "--pid", "--ipc", "--uts")

# How packages are reached from here: these alone go into the root.
_PASSED = re.compile(
    r"(https?|ftp|all|no)_proxy|GOPROXY|GOSUMDB|GONOSUMDB|GOPRIVATE|GOFLAGS|PIP_[A-Z_]+", re.IGNORECASE
)
_CERTIFICATES = re.compile(r"SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_CERT")


class BareRoot:
    """A bare Debian, as a context manager: it runs nothing of its own, and ends with everything in it.

    Args:
        folder: Where to unpack it; removed at the end.
        systemd: Whether systemd is installed there and runs, as on a machine of its own.

    Attributes:
        path: Its root folder, as seen from here.
        environment: How packages are reached, and where downloads are kept.
    """

    def __init__(self, folder: Path, *, systemd: bool = False) -> None:
        self.path = folder
        self.environment: dict[str, str] = {}
        self._systemd = systemd
        self._machine: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        subprocess.run(["tar", "-xpf", str(bare_tar()), "-C", str(self.path)], check=True)
        self._connect()
        if self._systemd:
            self._install("systemd", "dbus")
        # systemd wants its root to be a mount; processes are mounted below it already, so with what is below.
        lines = [f"mount --rbind {self.path} {self.path}"] if self._systemd else []
        lines.append(f"mount -t tmpfs tmpfs {self.path}/dev/shm")
        for outside, inside in {**caches(), **self._wheels()}.items():
            place = self.path / inside.lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --bind {shlex.quote(outside)} {shlex.quote(str(place))}")
        if self._systemd:
            lines += [
                f"mount -t sysfs -o ro sysfs {self.path}/sys",
                f"mount -t cgroup2 cgroup2 {self.path}/sys/fs/cgroup",
                f"mount -t tmpfs tmpfs {self.path}/run",
            ]
            first = f"cd {self.path}; exec env -i container=other PATH={PATH} chroot . /lib/systemd/systemd >&2"
        else:
            # Process 1 there: it takes care of children that lost their parents.
            first = "while :; do sleep 1; done"
        script = "set -e; " + "; ".join(lines) + f"; ip link set lo up; echo up; set +e; {first}"
        # Processes are mounted into the root, not over this machine's: what starts there looks there.
        spaces = [*_SPACES, "--cgroup", "--net", "--fork", "--kill-child", f"--mount-proc={self.path}/proc"]
        self._machine = subprocess.Popen(
            ["unshare", *spaces, "bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if self._systemd else None,
        )
        assert self._machine.stdout is not None
        assert self._machine.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children").read_text()
        self._pid = int(children.split()[0])
        if self._systemd:
            try:
                self._wait_for_systemd()
            except BaseException:
                self._machine.kill()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._machine is not None
        self._machine.kill()  # and with it process 1 there, and with that all of them
        self._machine.communicate()
        deadline = time.monotonic() + 30
        while Path(f"/proc/{self._pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.path)

    def copy_source(self, place: str) -> None:
        """Put what an archive of this project would hold, without its history, to a place in the root."""
        listed = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, stdout=subprocess.PIPE,
        ).stdout  # fmt: skip
        target = self.path / place.lstrip("/")
        for name in listed.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target / name)

    def command(
        self, words: Sequence[str], *, online: bool = False, env: Mapping[str, str] | None = None
    ) -> list[str]:
        """What to run here to have `words` run there.

        Args:
            words: Program and arguments.
            online: With this machine's network instead of its own, which has loopback alone.
            env: Further environment; without it there is PATH, HOME and how packages are reached.
        """
        return [
            *self._enter(online),
            "env", "-i", f"PATH={PATH}", "HOME=/root", "LC_ALL=C.UTF-8",
            *(f"{name}={value}" for name, value in {**self.environment, **(env or {})}.items()),
            "chroot", str(self.path),
            *words,
        ]  # fmt: skip

    def run(
        self,
        *words: str,
        online: bool = False,
        env: Mapping[str, str] | None = None,
        expect: int | None = 0,
        timeout: float = 1800,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program there to its end; stdout and stderr come back together.

        Raises:
            AssertionError: It ended with another code than `expect` (None: any will do).
        """
        done = subprocess.run(
            self.command(words, online=online, env=env),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
        )  # fmt: skip
        assert expect is None or done.returncode == expect, (
            f"{shlex.join(words)}: {done.returncode}\n{done.stdout}"
        )
        return done

    def beside_command(self, *words: str) -> list[str]:
        """What to run here to have a program of this machine see the root's ports, as a client beside it would."""
        return ["nsenter", "--target", str(self._pid), "--net", *words]

    def beside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run such a program to its end; stdout and stderr come back together."""
        return subprocess.run(
            self.beside_command(*words),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=120,
        )  # fmt: skip

    def _enter(self, online: bool) -> list[str]:
        return ["nsenter", "--target", str(self._pid), *_SPACES, "--cgroup", *([] if online else ["--net"])]

    def _install(self, *packages: str) -> None:
        """Install packages before anything runs there."""
        words = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(packages)}"
        told = {"DEBIAN_FRONTEND": "noninteractive", "PATH": PATH, **self.environment}
        done = subprocess.run(
            ["chroot", str(self.path), "sh", "-c", words],
            env=told, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout

    def _wait_for_systemd(self) -> None:
        deadline = time.monotonic() + 60
        while (state := self.run("systemctl", "is-system-running", expect=None).stdout.strip()) != "running":
            assert time.monotonic() < deadline, f"systemd is {state}"
            time.sleep(0.2)

    def _connect(self) -> None:
        """Give the root this machine's way to packages."""
        apt = self.path / "etc/apt"
        (apt / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {' '.join(one)}\n" for one in _sources())
        )
        told = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
        acquire = [line for line in told.splitlines() if re.match(r"Acquire::.*\"[^\"]+\";$", line)]
        (apt / "apt.conf.d/90machine").write_text("\n".join(acquire) + "\n")
        if Path("/etc/apt/auth.conf.d").is_dir():
            shutil.copytree("/etc/apt/auth.conf.d", apt / "auth.conf.d", dirs_exist_ok=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(Path("/etc") / name, self.path / "etc" / name)
        own = Path("/usr/local/share/ca-certificates")
        if own.is_dir():
            shutil.copytree(own, self.path / "usr/local/share/ca-certificates", dirs_exist_ok=True)
        if BUNDLE.exists():
            (self.path / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
            shutil.copy(BUNDLE, self.path / "etc/machine-certificates.crt")
            shutil.copy(BUNDLE, self.path / BUNDLE.relative_to("/"))
        self.environment = {
            "GOMODCACHE": "/var/cache/go-mod",
            "GOCACHE": "/var/cache/go-build",
            **_pip_settings(),
            **{name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)},
            "PIP_CACHE_DIR": "/var/cache/pip",
        }
        names = {name for name in [*self.environment, *os.environ] if _CERTIFICATES.fullmatch(name)}
        self.environment |= dict.fromkeys(names, "/etc/machine-certificates.crt")

    def _wheels(self) -> dict[str, str]:
        """Folders of packages that pip is told of here are there too."""
        named = self.environment.get("PIP_FIND_LINKS", "").split()
        return {one: one for one in named if Path(one).is_dir()}


def _sources() -> list[tuple[str, str, str]]:
    """This machine's own Debian sources, the main one first: address, suite, component."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.MULTILINE))
    suite = release["VERSION_CODENAME"]
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    lines = [line.split() for line in told.splitlines()]
    found = [(one[0], one[1], one[2]) for one in lines if one[1].split("-")[0] == suite and one[2] == "main"]
    assert found, f"this machine's package sources know no {suite}"
    return sorted(found, key=lambda one: len(one[1]))


def bare_tar() -> Path:
    """The bare root as a tar; made where it is not there yet."""
    address, suite, _ = _sources()[0]
    tar = CACHE / f"{suite}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tar.exists():
            folder = CACHE / f"{suite}.part"
            shutil.rmtree(folder, ignore_errors=True)
            words = ["debootstrap", "--variant=minbase", suite, str(folder), address]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr
            shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
            (folder / "var/cache/apt/archives/partial").mkdir(parents=True)
            subprocess.run(["tar", "-cpf", f"{tar}.part", "-C", str(folder), "."], check=True)
            shutil.rmtree(folder)
            Path(f"{tar}.part").rename(tar)
    return tar


def caches() -> dict[str, str]:
    """Folders with downloads that are shared, so that they happen once: here and there."""
    own = CACHE / "pip"
    own.mkdir(parents=True, exist_ok=True)
    go = ROOT / "deploy" / "go-toolchain"
    program = subprocess.run(
        [str(go), str(ROOT / ".cache/go")], check=True, capture_output=True, text=True
    ).stdout.strip()
    told = subprocess.run(
        [program, "env", "-json", "GOMODCACHE", "GOCACHE"], check=True, capture_output=True, text=True
    )
    places = json.loads(told.stdout)
    for place in places.values():
        Path(place).mkdir(parents=True, exist_ok=True)
    return {
        str(own): "/var/cache/pip",
        places["GOMODCACHE"]: "/var/cache/go-mod",
        places["GOCACHE"]: "/var/cache/go-build",
    }


def _pip_settings() -> dict[str, str]:
    """The settings of this machine's pip, as environment variables."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = re.findall(r"^(?:global|install|:env:)\.([a-z-]+)='(.*)'$", told, re.MULTILINE)
    return {f"PIP_{name.upper().replace('-', '_')}": value.replace("\\n", " ") for name, value in found}


def end(process: "subprocess.Popen[str]") -> int:
    """Ask a process that was started by `BareRoot.command` to end as Ctrl-C would, and wait; its exit code."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children or [str(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGINT)
    return process.wait(60)
