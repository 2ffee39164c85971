# SPDX-License-Identifier: AGPL-3.0-or-later
"""What CometBFT 0.38.26 writes into its log, at its real length."""

import json

APPLY_FAILED = "failed to apply block; error read message: EOF"


def consensus_failure(length: int) -> str:
    """The line with which CometBFT 0.38.26 says that its consensus has ended, of so many bytes."""
    frame = "github.com/cometbft/cometbft/consensus.(*State).addVote(0x3742b72fa008)\n\tconsensus/state.go:2339\n"
    told = {"_msg": "CONSENSUS FAILURE!!!", "err": APPLY_FAILED, "level": "error", "module": "consensus"}
    head = json.dumps({**told, "stack": "goroutine 70 [running]:\n"}, separators=(",", ":"))[:-2]
    tail = '","ts":"2026-11-23T23:23:56.836716638Z"}'
    frames = json.dumps(frame)[1:-1]
    room = length - len(head) - len(tail)
    stack = frames * (room // len(frames))
    return head + stack + "." * (room - len(stack)) + tail
