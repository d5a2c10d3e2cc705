"""Random inputs for the relay: dialogues over its exchange state machine, and bytes for all that parses.

mutations.py cuts and damages bytes; dialogues.py makes valid requests and replies; stage.py is the relay's
world, with loop.py and transports.py; exchanges.py plays a dialogue on it and judges; parsers.py feeds the
parsers. Everything follows from the seed that is printed with a finding.
"""


class Violation(Exception):  # noqa: N818 - it says what was broken
    """A promise that an input broke."""
