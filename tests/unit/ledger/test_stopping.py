"""record ends whenever it is told to, also in the midst of `stop.wait()`."""

import subprocess
import sys

MANY_TIMES = """
import os, signal, sys, time
from threading import Event
from collector.ledger.__main__ import stop_on_signals

def live():
    stop = Event()
    stop_on_signals(stop)
    os.write(told, b".")
    while not stop.is_set():
        stop.wait(0)
    os._exit(0)

for _ in range(25):
    hear, told = os.pipe()
    child = os.fork() or live()
    os.read(hear, 1)
    time.sleep(0.005)
    os.kill(child, signal.SIGTERM)
    for _ in range(1000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        sys.exit("it was told to stop, and did not")
    if status:
        sys.exit(f"it ended with {status}")
"""


def test_a_signal_at_any_moment_ends_it() -> None:
    ran = subprocess.run([sys.executable, "-c", MANY_TIMES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
