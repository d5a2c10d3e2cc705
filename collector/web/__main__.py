"""The web process: `python -m collector.web --config-file PATH --fd N`, as the supervisor starts it.

The socket is inherited, so that no request is refused while this process is replaced. SIGTERM lets the
requests under way end. No access log: a URL can hold a team's or a person's name.
"""

import argparse
import json
import logging
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import uvicorn

from collector.children import die_with_parent
from collector.config import Config, read_effective
from collector.errors import SizewiseError
from collector.web.app import make_app


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": "web",
            "text": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def main() -> int:
    die_with_parent()
    arguments = argparse.ArgumentParser(prog="python -m collector.web")
    arguments.add_argument("--config-file", type=Path, required=True)
    arguments.add_argument("--fd", type=int, help="an inherited listening socket, instead of web.listen")
    given = arguments.parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    try:
        config = read_effective(given.config_file)
        app = make_app(config)
    except SizewiseError as problem:
        logging.error("%s", problem)
        return 1
    with socket.socket(fileno=given.fd) if given.fd is not None else bind(config) as listener:
        settings = uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(settings).run(sockets=[listener])
    return 0


def leave(number: int, frame: FrameType | None) -> None:
    """Outside of uvicorn's own handling, that is before it runs and after it has stopped."""
    del number, frame
    raise SystemExit(0)


def bind(config: Config) -> socket.socket:
    host, _, port = config.web.listen.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.strip("[]"), int(port)))
    return listener


if __name__ == "__main__":
    sys.exit(main())
