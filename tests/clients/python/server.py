"""Where the server is, and patience for what takes its time."""

import logging
import os
import time

# How long each step of a test takes is not what is asked here.
logging.getLogger("asyncio").setLevel(logging.ERROR)

HOST, PORT = os.environ["MMEM_ADDRESS"].rsplit(":", 1)
PORT = int(PORT)

# The largest value that a default server must take, whatever it keeps beside it.
LARGEST_VALUE = 1_047_552


def eventually(condition, seconds=10):
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False
