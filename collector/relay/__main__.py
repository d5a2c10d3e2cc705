"""python -m collector.relay --plan FILE --fd N --worker I: one relay worker, started by the supervisor."""

import argparse
import gc
import socket
from pathlib import Path

import uvloop

from collector.children import die_with_parent
from collector.plan import read_plan


async def _run(plan_file: Path, descriptor: int, number: int) -> None:
    from collector.relay.worker import Worker

    worker = Worker(read_plan(plan_file), plan_file, number, socket.socket(fileno=descriptor))
    await worker.run()


def main() -> None:
    die_with_parent()
    words = argparse.ArgumentParser(prog="python -m collector.relay", description=__doc__)
    words.add_argument("--plan", type=Path, required=True)
    words.add_argument("--fd", type=int, required=True)
    words.add_argument("--worker", type=int, default=0)
    given = words.parse_args()
    gc.freeze()
    uvloop.run(_run(given.plan, given.fd, given.worker))


if __name__ == "__main__":
    main()
