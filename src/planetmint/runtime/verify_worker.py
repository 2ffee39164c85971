# SPDX-License-Identifier: AGPL-3.0-or-later
"""The other end of `verify_process.py`: reads signatures from a socket, answers which of them verify.

A process of its own because a thread has to win the interpreter's lock back after each signature, which under
load costs more than the signature. It ends when the node does: the socket then ends.
"""

import signal
import socket
import sys

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

COUNT_BYTES = 4
PART_BYTES = 128
_KEY_BYTES = 32


def verdicts(parts: bytes) -> bytes:
    """One byte per part, 1 where the signature verifies.

    Args:
        parts: Each the public key (32 bytes), the signature (64) and the message (32).
    """
    answer = bytearray(len(parts) // PART_BYTES)
    for index in range(len(answer)):
        start = index * PART_BYTES
        middle = start + _KEY_BYTES
        try:
            crypto_sign_open(parts[middle : start + PART_BYTES], parts[start:middle])
        except BadSignatureError:
            continue
        answer[index] = 1
    return bytes(answer)


def main(descriptor: int) -> None:
    """Serve one socket until it ends."""
    # A signal to the whole group is for the node, which still has signatures to verify while it stops.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as link, link.makefile("rb") as reader:
        while len(head := reader.read(COUNT_BYTES)) == COUNT_BYTES:
            link.sendall(verdicts(reader.read(PART_BYTES * int.from_bytes(head, "big"))))


if __name__ == "__main__":
    main(int(sys.argv[1]))
