# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contract engine in a plain process: `python -m bench.engine_alone LIBRARY`.

Takes a script and its data as a line of JSON, answers with the milliseconds of one call, line after line. What the
engine prints goes nowhere.
"""

import ctypes
import json
import os
import sys
import time

CONFIGURATION = b"rngseed=hex:" + bytes(64).hex().encode()


def main(library: str) -> None:
    engine = ctypes.CDLL(library)
    system = ctypes.CDLL(None)
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    for line in sys.stdin:
        script, data = (text.encode() for text in json.loads(line))
        begin = time.perf_counter()
        engine.zencode_exec(script, CONFIGURATION, None, data)
        system.fflush(None)
        print(1000 * (time.perf_counter() - begin), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
