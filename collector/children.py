"""What a process that the supervisor starts does first: it binds its life to the supervisor's.

Standard library only, since relay workers import it too. It is called in the child and not through
Popen's preexec_fn, which is unsafe in a process with threads and costs the fast way to start a child.
"""

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "SIZEWISE_PARENT_PID"
PR_SET_PDEATHSIG = 1


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """The kernel sends `signal_number` when the supervisor dies, even of kill -9. Linux only; else nothing.

    Invariant: no child outlives its supervisor unnoticed. A supervisor that died before the call below took
    effect is found by comparing the parent's id with the one it left in the environment. Started by hand,
    without that variable, a process lives its own life.
    """
    supervisor = os.environ.pop(PARENT_VARIABLE, "")
    if not supervisor or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal_number)


def run_module(module: str, arguments: list[str]) -> None:
    """`python -m collector.children MODULE ARGUMENT...`: for a module that knows nothing of a supervisor."""
    import runpy

    die_with_parent()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_module(sys.argv[1], sys.argv[2:])
