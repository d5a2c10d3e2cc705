"""Stands for relay, record and web: `child.py KIND EVENTS ...`, which tells EVENTS what it lives through."""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path

from collector.children import die_with_parent
from collector.config import read_effective
from collector.plan import read_plan


class StoppedError(Exception):
    pass


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("events", type=Path)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--config-file", type=Path)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--worker", type=int, default=0)
    given = parser.parse_args()

    def tell(event: str) -> None:
        with given.events.open("a") as file:
            file.write(f"{given.kind}{given.worker if given.kind == 'relay' else ''} {event}\n")

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(0.1)
        tell("ended")
        raise StoppedError

    def read_again(number: int, frame: object) -> None:
        tell(f"read {read_plan(given.plan).environment}")

    stubborn = given.kind == "relay" and given.events.with_suffix(".stubborn").exists()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else stop)
    signal.signal(signal.SIGHUP, read_again)
    if given.plan:
        tell(f"started {read_plan(given.plan).environment}")
    else:
        config = read_effective(given.config_file)
        tell(f"started {config.environment} {config.database_url}")
    try:
        serve(given.fd) if given.fd is not None else time.sleep(3600)
    except StoppedError:
        sys.exit(0)


def serve(descriptor: int) -> None:
    """Answers every connection with its own process id."""
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            text = str(os.getpid()).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))


main()
