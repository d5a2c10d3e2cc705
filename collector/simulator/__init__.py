"""Upstreams that answer like OpenAI, Azure, Mistral, Anthropic and vLLM on one port, and tell what they did.

A request goes server -> service -> ask -> a dialect (chat, completions, embeddings, responses, messages) ->
delivery -> truth. `python -m collector.simulator` starts one; tests use `start_simulator`. What one request
wishes beside its answer stands in directives.py.
"""

from collector.simulator.behaviour import Behaviour
from collector.simulator.launch import Simulator, start_simulator
from collector.simulator.truth import Entry

__all__ = ["Behaviour", "Entry", "Simulator", "start_simulator"]
