"""`python -m benchmarks [NAME ...]`: the comparisons, each a module here with `run() -> dict of figures`.

Each prints a table for people; the last line of the output is one JSON object of figures (of all that ran,
by name, when there were several). BENCH_SEED and BENCH_QUICK=1 are read by the comparisons.
"""

import importlib
import json
import pkgutil
import sys
from typing import Any

import benchmarks


def find_names() -> list[str]:
    """Every module here that has a `run`."""
    found = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_"]
    return [name for name in found if hasattr(importlib.import_module(f"benchmarks.{name}"), "run")]


def main(names: list[str]) -> int:
    known = find_names()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no comparison {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    figures: dict[str, Any] = {}
    for name in names or known:
        figures[name] = importlib.import_module(f"benchmarks.{name}").run()
    print(json.dumps(figures[names[0]] if len(names) == 1 else figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
