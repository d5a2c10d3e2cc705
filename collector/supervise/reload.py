"""What `sizewise reload` does from outside: asks a running supervisor, and waits for its answer.

The signal asks, the status file answers. A process id in a file proves nothing, so the supervisor's lock
must be held before anything is signalled.
"""

import os
import signal
import time
from pathlib import Path

from collector.errors import SizewiseError
from collector.supervise.lock import is_held
from collector.supervise.status import ReloadStatus, find_run_folder, read_status
from collector.supervise.supervisor import KINDS

POLL_S = 0.05


def reload_running(state_dir: Path, wait_s: float) -> ReloadStatus:
    folder = find_run_folder(state_dir, KINDS, lambda kind: is_held(state_dir, kind))
    if folder is None:
        raise SizewiseError(f"Nothing runs for {state_dir}. (SIZEWISE_STATE_DIR says where to look.)")
    path = folder / "status.json"
    before = read_status(path)
    try:
        os.kill(before.pid, signal.SIGHUP)
    except OSError as problem:
        raise SizewiseError(f"The supervisor (pid {before.pid}) can't be asked: {problem.strerror}") from None
    give_up_s = time.monotonic() + wait_s
    while time.monotonic() < give_up_s:
        now = read_status(path)
        if now.reload.count > before.reload.count:
            return now.reload
        time.sleep(POLL_S)
    raise SizewiseError(f"The supervisor (pid {before.pid}) did not answer within {wait_s:.0f} s.")
