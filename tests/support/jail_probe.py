# SPDX-License-Identifier: AGPL-3.0-or-later
"""A misdeed in a contract's jail: `python -m tests.support.jail_probe MISDEED [--unsealed] [--without WALL ...]`.

Builds the jail of a worker, forks a child into it and lets the child try. Prints as JSON what became of it: the
signal that ended the child, else the number of the error that it met (0: it got what it wanted), and the layers.
"""

import argparse
import ctypes
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable

from planetmint.sandbox import system
from planetmint.sandbox.jail import Jail

_libc = ctypes.CDLL(None, use_errno=True)
_libc.getenv.restype = ctypes.c_char_p
_PTRACE_ATTACH = 16
_GIGABYTE = 1 << 30

listener = socket.create_server(("127.0.0.1", 0))
listener_path = f"\0planetmint-probe-{os.getpid()}"
unix_listener = socket.socket(socket.AF_UNIX)
unix_listener.bind(listener_path)
unix_listener.listen()
node = os.getpid()
_secret = os.open("/etc/hostname", os.O_RDONLY)


def _connect() -> None:
    with socket.socket() as client:
        client.settimeout(2)
        client.connect(listener.getsockname())


def _connect_unix() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(listener_path)


def _send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _execute() -> None:
    os.execv("/bin/sh", ["sh", "-c", "exit 0"])


def _trace() -> None:
    if _libc.ptrace(_PTRACE_ATTACH, node, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _map_much() -> None:
    mmap.mmap(-1, 10 * _GIGABYTE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_NORESERVE)


def _map_code() -> None:
    mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_EXEC)


def _environment() -> None:
    """Whether a variable that this process had is left, for the engine or for its memory's reader."""
    if not (os.environ or _libc.getenv(b"PROBE_SECRET")):
        raise OSError(2, "nothing")


MISDEEDS: dict[str, Callable[[], object]] = {
    "read a file": lambda: open("/etc/passwd").close(),
    "list a directory": lambda: os.listdir("/usr"),
    "write a file": lambda: open("/tmp/probe-was-here", "w").close(),
    "read the worker's memory": lambda: open(f"/proc/{os.getppid()}/mem", "rb").close(),
    "read the environment's file": lambda: open("/proc/self/environ", "rb").close(),
    "read an inherited descriptor": lambda: os.read(_secret, 1),
    "find a variable": _environment,
    "connect by TCP": _connect,
    "connect to an abstract socket": _connect_unix,
    "send a datagram": _send_datagram,
    "fork": _fork,
    "execute a program": _execute,
    "signal the worker": lambda: os.kill(os.getppid(), 0),
    "signal the node": lambda: os.kill(node, 0),
    "trace the node": _trace,
    "become root": lambda: os.setresuid(0, 0, 0),
    "make a user namespace": lambda: system.unshare(system.CLONE_NEWUSER),
    "mount": lambda: system.mount(b"none", b"/", b"tmpfs", 0),
    "map ten gigabytes": _map_much,
    "map memory for code": _map_code,
    "nothing": lambda: None,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("misdeed", choices=list(MISDEEDS))
    parser.add_argument("--unsealed", action="store_true", help="leave the list of system calls away")
    parser.add_argument("--without", nargs="*", default=[], help="methods of `Jail` that do nothing")
    options = parser.parse_args(arguments)
    if os.fork() == 0:
        os._exit(_worker(options))
    return os.waitstatus_to_exitcode(os.wait()[1])


def _worker(options: argparse.Namespace) -> int:
    """The child of the process that plays the node."""
    for wall in options.without:
        setattr(Jail, wall, lambda *_: None)
    os.environ.clear()
    jail = Jail()
    jail.enter()
    worker = os.getpid()
    child = os.fork()
    if child == 0:
        os._exit(_try(options, jail, worker))
    status = os.waitpid(child, 0)[1]
    caught = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else None
    error = None if caught else os.WEXITSTATUS(status)
    print(json.dumps({"signal": caught, "error": error, "layers": jail.layers}), flush=True)
    return 0


def _try(options: argparse.Namespace, jail: Jail, worker: int) -> int:
    jail.enter_child(worker)
    if not options.unsealed:
        jail.seal()
    try:
        MISDEEDS[options.misdeed]()
    except OSError as error:
        return error.errno or 255
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
