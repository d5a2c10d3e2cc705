"""The doctor: looks at everything that Sizewise stands on here, and says what is wrong and what to do.

Each group of findings is a module of two halves: `gather` looks (a disk, a socket, a database) and gives
plain facts, `judge` makes findings of them and touches nothing. examine.py runs them all; share.py measures
the sidecar's own share of a call's time; render.py makes text of findings. Nothing is changed by looking.
"""

from collector.doctor.examine import examine
from collector.doctor.finding import Finding, has_problem
from collector.doctor.render import render
from collector.doctor.share import prove

__all__ = ["Finding", "examine", "has_problem", "prove", "render"]
