"""One line of JSON on stderr for each thing that an operator may have to know."""

import json
import sys
import time


def log(event: str, **facts: object) -> None:
    """Never a secret, never a prompt."""
    print(json.dumps({"event": event, "at": time.time(), **facts}), file=sys.stderr, flush=True)  # noqa: T201
