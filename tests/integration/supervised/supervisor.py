"""A real supervisor over child.py and a database that is only a process: `supervisor.py CONFIG EVENTS`.

While the file EVENTS.nodb exists, the database can't be started.
"""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

from collector.config import load_config
from collector.errors import SizewiseError
from collector.supervise import KINDS, Supervisor

config_file, events = Path(sys.argv[1]), Path(sys.argv[2])
kinds = frozenset(sys.argv[3].split(",")) if len(sys.argv) > 3 else KINDS
CHILD = Path(__file__).with_name("child.py")


class FakePostgres:
    url = "postgresql://fake/url"

    def __init__(self) -> None:
        self._popen = subprocess.Popen(["sleep", "3600"])

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_running(self) -> bool:
        return self._popen.poll() is None

    def stop(self) -> None:
        self._popen.kill()
        self._popen.wait()
        with events.open("a") as file:
            file.write("postgres ended\n")


class FakeStore:
    def start_postgres(self, data_dir: Path) -> FakePostgres:
        if events.with_suffix(".nodb").exists():
            raise SizewiseError("no database today")
        return FakePostgres()

    def running_url(self, data_dir: Path) -> str:
        return FakePostgres.url

    def migrate(self, url: str, zone: str) -> None:
        with events.open("a") as file:
            file.write("migrated\n")


logging.basicConfig(level=logging.INFO)
commands = {kind: (sys.executable, str(CHILD), kind, str(events)) for kind in KINDS}
try:
    supervisor = Supervisor(lambda: load_config(config_file), kinds, commands=commands, store=FakeStore())
except SizewiseError as problem:
    sys.exit(str(problem))
asyncio.run(supervisor.run())
