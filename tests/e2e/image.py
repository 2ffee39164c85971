# SPDX-License-Identifier: AGPL-3.0-or-later
"""Build the container image on a bare Debian and run a node and a network of it: `python -m tests.e2e.image`.

Needs root and buildah, and no container engine: containers run with buildah's chroot isolation, in a network
namespace of the test. Takes some minutes, so it is `make image` and not a part of `make test`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.bare_root import ROOT, BareRoot, caches, end

HTTP = "http://localhost:9984"
STREAM = "ws://localhost:9985/api/v1/streams/valid_transactions"
PUBLISHED = {
    "PLANETMINT_DATABASE_BACKEND": "tarantool_db",
    "PLANETMINT_DATABASE_HOST": "localhost",
    "PLANETMINT_DATABASE_PORT": "3303",
    "PLANETMINT_SERVER_BIND": "0.0.0.0:9984",
    "PLANETMINT_WSSERVER_HOST": "0.0.0.0",
    "PLANETMINT_WSSERVER_SCHEME": "ws",
    "PLANETMINT_WSSERVER_ADVERTISED_HOST": "0.0.0.0",
    "PLANETMINT_WSSERVER_ADVERTISED_SCHEME": "ws",
    "PLANETMINT_TENDERMINT_HOST": "localhost",
    "PLANETMINT_TENDERMINT_PORT": "26657",
}
"""What those who ran the published containers set (cli-and-config 4)."""


class Images:
    """Buildah with a storage of its own.

    Args:
        folder: For images and containers.
        root: The bare Debian that images are based on, and in whose network containers run.
    """

    def __init__(self, folder: Path, root: BareRoot) -> None:
        self.folder = folder
        self.root = root
        self.environment = os.environ | {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}

    def command(self, *words: str) -> list[str]:
        """A call of buildah."""
        return ["buildah", "--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run", *words]

    def run(self, *words: str) -> str:
        """Call buildah; what it prints on stdout. Raises AssertionError where it fails."""
        done = subprocess.run(
            self.command(*words), cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"buildah {' '.join(words)}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done.stdout.strip()

    def base(self) -> str:
        """The bare Debian as an image, with this machine's way to packages; its name."""
        container = self.run("from", "scratch")
        self.run("copy", container, str(self.root.path), "/")
        for name, value in self.root.environment.items():
            self.run("config", "--env", f"{name}={value}", container)
        self.run("commit", "--rm", container, "bare")
        return "localhost/bare"

    def build(self, base: str) -> str:
        """Build the image by its Containerfile; its name."""
        volumes = [word for outside, inside in caches().items() for word in ("--volume", f"{outside}:{inside}")]
        file = ROOT / "deploy/container/Containerfile"
        self.run(
            "build",
            "--layers=false",
            "--build-arg",
            f"BASE={base}",
            *volumes,
            "-f",
            str(file),
            "-t",
            "planetmint",
            ".",
        )
        return "localhost/planetmint"

    def start(self, image: str, volume: Path, env: Mapping[str, str]) -> "Container":
        """Run the image's own command in a new container."""
        return Container(self, self.run("from", "--pull=never", image), volume, env)


class Container:
    """A running container; a context manager that stops it as an engine would."""

    def __init__(self, images: Images, name: str, volume: Path, env: Mapping[str, str]) -> None:
        self.images = images
        self.name = name
        settings = [word for item in env.items() for word in ("--env", "=".join(item))]
        self._run = ["run", "--isolation", "chroot", "--volume", f"{volume}:/var/lib/planetmint", *settings, name]
        self.log = volume.with_suffix(".log")

    def __enter__(self) -> "Container":
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.images.root.beside_command(*self.images.command(*self._run, "planetmint", "start")),
                env=self.images.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                text=True,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while self.healthy() != 0:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        self.images.run("rm", self.name)

    def healthy(self) -> int:
        """Exit code of the image's health check."""
        return self.images.root.beside(*self.images.command(*self._run, "healthy")).returncode


def post(root: BareRoot) -> int:
    """Post at the container and hear of it; the height."""
    done = root.beside(sys.executable, "-m", "tests.support.first_client", "post", HTTP, STREAM)
    assert done.returncode == 0, done.stdout
    return int(done.stdout)


def main() -> None:
    """Build, run, restart with the same volume and the published containers' environment."""
    assert shutil.which("buildah"), "buildah is missing (Debian: apt-get install buildah)"
    with tempfile.TemporaryDirectory(prefix="image", dir="/var/tmp") as name:
        folder = Path(name)
        with BareRoot(folder / "root") as root:
            images = Images(folder, root)
            began = time.monotonic()
            image = images.build(images.base())
            print(f"built the image in {time.monotonic() - began:.0f} s", flush=True)
            volume = folder / "volume"
            volume.mkdir()
            os.chown(volume, 10001, 10001)
            with images.start(image, volume, {}):
                first = post(root)
            print(f"a node ran, height {first}", flush=True)
            with images.start(image, volume, PUBLISHED):
                second = post(root)
            assert second > first
            print(f"it went on with the published containers' environment, height {second}", flush=True)


if __name__ == "__main__":
    main()
