# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes one isolated environment per published driver: virtual environments, an npm and a Maven project.

Everything is pinned. An environment is built once and kept under `.cache/compat/<name>-<hash of its recipe>`, so
a changed pin makes a new one. Run as a program it builds the named ones (or all) and prints where they are.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = ROOT / ".cache" / "compat"
BUILD_CONSTRAINTS = HERE / "requirements" / "build-constraints.txt"
RECIPE_VERSION = "1"  # raise it when the way of building changes
BUILD_TIMEOUT = 900

SHA3_SHIM = (
    '"""Stands in for pysha3, which does not build on Python 3.11; the standard library has the functions."""\n'
    "from hashlib import sha3_224, sha3_256, sha3_384, sha3_512, shake_128, shake_256\n"
)

# Command that is needed -> Debian package that has it.
DEBIAN_PACKAGES = {
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "node": "nodejs",
    "npm": "npm",
}


class CannotBuild(RuntimeError):
    """The environment could not be made; the text says what failed or what is missing."""


@dataclass(frozen=True)
class Environment(ABC):
    """A recipe: `prepare()` makes the environment if it is not there yet."""

    name: str

    @abstractmethod
    def sources(self) -> list[Path]:
        """Files that the result depends on."""

    @abstractmethod
    def build(self, folder: Path) -> None:
        """Fill the empty `folder`."""

    @property
    def folder(self) -> Path:
        """Where the environment is or will be."""
        digest = hashlib.sha256()
        digest.update(f"{RECIPE_VERSION} {sys.version_info[:2]} {SHA3_SHIM}".encode())
        for path in self.sources():
            digest.update(path.name.encode() + path.read_bytes())
        return CACHE / f"{self.name}-{digest.hexdigest()[:12]}"

    def prepare(self) -> Path:
        """Build the environment unless it is complete already; safe to call from several processes at once."""
        folder = self.folder
        complete = folder / ".complete"
        if complete.exists():
            return folder
        with _locked(self.name):
            if complete.exists():
                return folder
            for outdated in CACHE.glob(f"{self.name}-????????????"):
                shutil.rmtree(outdated)
            folder.mkdir(parents=True)
            self.build(folder)
            complete.touch()
        return folder


@dataclass(frozen=True)
class PythonEnvironment(Environment):
    """A virtual environment of this interpreter's version with a driver in it."""

    requirements: Path
    needs_sha3: bool = False

    def sources(self) -> list[Path]:
        return [self.requirements, BUILD_CONSTRAINTS]

    def build(self, folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder / "venv")])
        # The drivers pin old releases that have no wheels for this Python, hence --no-deps.
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "-r", str(self.requirements)]
        constraints = {"PIP_CONSTRAINT": str(BUILD_CONSTRAINTS), "PIP_BUILD_CONSTRAINT": str(BUILD_CONSTRAINTS)}
        _run([str(self.python), *install], env=constraints)
        if self.needs_sha3:
            where = _run([str(self.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
            (Path(where.strip()) / "sha3.py").write_text(SHA3_SHIM)

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"


@dataclass(frozen=True)
class NodeEnvironment(Environment):
    """A folder with `node_modules` as the lock file says; native add-ons are not compiled."""

    project: Path

    def sources(self) -> list[Path]:
        return [self.project / "package.json", self.project / "package-lock.json"]

    def build(self, folder: Path) -> None:
        _require("node", "npm")
        for source in self.sources():
            shutil.copy(source, folder)
        # crypto-conditions has an optional native ed25519; without it the driver uses its JavaScript one.
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)

    @property
    def modules(self) -> Path:
        return self.folder / "node_modules"


@dataclass(frozen=True)
class JavaEnvironment(Environment):
    """A Maven project, compiled, with its dependencies beside it."""

    project: Path

    def sources(self) -> list[Path]:
        return [self.project / "pom.xml", *sorted((self.project / "src").rglob("*.java"))]

    def build(self, folder: Path) -> None:
        _require("java", "javac", "mvn")
        shutil.copy(self.project / "pom.xml", folder)
        shutil.copytree(self.project / "src", folder / "src")
        _run(["mvn", "-B", "-q", "compile", "dependency:copy-dependencies"], cwd=folder)

    @property
    def classpath(self) -> str:
        target = self.folder / "target"
        return os.pathsep.join([str(target / "classes"), str(target / "dependency" / "*")])


BIGCHAINDB_062 = PythonEnvironment(
    "bigchaindb-driver-0.6.2", HERE / "requirements" / "bigchaindb-driver-0.6.2.txt", needs_sha3=True
)
PLANETMINT_094 = PythonEnvironment(
    "planetmint-driver-0.9.4", HERE / "requirements" / "planetmint-driver-0.9.4.txt", needs_sha3=True
)
PLANETMINT_0111 = PythonEnvironment(
    "planetmint-driver-0.11.1", HERE / "requirements" / "planetmint-driver-0.11.1.txt", needs_sha3=True
)
# The environments of the two newest drivers are those of the examples, so that the examples' lists are tested.
PLANETMINT_0185 = PythonEnvironment("planetmint-driver-0.18.5", ROOT / "examples" / "python" / "requirements.txt")
JAVASCRIPT_430 = NodeEnvironment("js-bigchaindb-driver-4.3.0", ROOT / "examples" / "javascript")
JAVA_12 = JavaEnvironment("java-bigchaindb-driver-1.2", HERE / "programs" / "java")

ALL: Mapping[str, Environment] = {
    one.name: one
    for one in (
        BIGCHAINDB_062,
        PLANETMINT_094,
        PLANETMINT_0111,
        PLANETMINT_0185,
        JAVASCRIPT_430,
        JAVA_12,
    )
}


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require(*commands: str) -> None:
    """Make sure that `commands` are on the path, from the system's packages where that is possible."""
    missing = [command for command in commands if shutil.which(command) is None]
    if not missing:
        return
    packages = sorted({DEBIAN_PACKAGES[command] for command in missing})
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotBuild(f"not found: {', '.join(missing)}; install {', '.join(packages)} and try again")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with _locked("apt"):
        _run(["apt-get", "update", "-q"], env=quiet)
        _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], env=quiet)


def _run(command: list[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise CannotBuild(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main(names: list[str]) -> int:
    """Build the named environments, or all, and print a line for each; exit code 1 if one fails."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names or ALL:
        try:
            print(f"{name}: {ALL[name].prepare()}", flush=True)
        except CannotBuild as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
