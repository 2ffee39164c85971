# SPDX-License-Identifier: AGPL-3.0-or-later
"""Becomes another program that ends with the process that started it: `leash.py PARENT PROGRAM ARGUMENT...`.

The system ends the program when its parent ends, however that ends (Linux; elsewhere the next start of the node
does it). A program of its own, because such a wish must be uttered between fork and exec, where a process with
threads may run no Python.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Utter the wish, then become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2]
    if sys.platform == "linux":
        # SIGKILL: whoever loses its parent must not go on for a moment, not even when it is halted.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)  # it ended before the wish was uttered
    os.execv(program, sys.argv[2:])


if __name__ == "__main__":
    main()
