"""Sizewise: a sidecar that knows what every LLM call cost, for whom, and whether a smaller model would do."""

__version__ = "0.1.0"
