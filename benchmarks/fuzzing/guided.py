"""`python -m benchmarks.fuzzing.guided RUNS`: the parsers under atheris, which looks for new branches."""

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

with atheris.instrument_imports():
    from benchmarks.fuzzing import parsers


def feed(data: bytes) -> None:
    parsers.feed(data.hex())


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], f"-runs={sys.argv[1]}"], feed)
    atheris.Fuzz()
