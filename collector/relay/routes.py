"""To whom a request goes, and for whom it is counted: a pure look-up over the plan's routes.

First match wins; /to/NAME/... always reaches upstream NAME. A look-up by (path, model) is remembered, up to
a bound, since the same few come again and again.
"""

import re
from fnmatch import translate

from collector.plan import Plan, RoutePlan, UpstreamPlan

_REMEMBERED = 4096


class Target:
    """Where a request goes: an upstream, the path it sees, and what its calls are counted under."""

    __slots__ = ("environment", "path", "project", "route", "team", "upstream")

    def __init__(self, upstream: UpstreamPlan, path: bytes, route: RoutePlan | None) -> None:
        self.upstream = upstream
        self.path = upstream.base_path.encode() + path
        self.route = (
            (route.name or route.model or route.path or "default") if route else f"to/{upstream.name}"
        )
        self.team = route.team if route else ""
        self.project = route.project if route else ""
        self.environment = route.environment if route else ""


class Router:
    def __init__(self, plan: Plan) -> None:
        self._upstreams = {upstream.name: upstream for upstream in plan.upstreams}
        self._routes = [
            (route, re.compile(translate(route.path or "*")), re.compile(translate(route.model or "*")))
            for route in plan.routes
        ]
        self._remembered: dict[tuple[bytes, str], Target | None] = {}

    def find(self, path: bytes, model: str) -> Target | None:
        """None: no route takes it."""
        key = (path, model)
        if key in self._remembered:
            return self._remembered[key]
        target = self._find(path, model)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = target
        return target

    def _find(self, path: bytes, model: str) -> Target | None:
        if path.startswith(b"/to/"):
            name, _, rest = path[4:].partition(b"/")
            upstream = self._upstreams.get(name.decode("latin-1"))
            return Target(upstream, b"/" + rest, None) if upstream else None
        text = path.decode("latin-1")
        for route, path_pattern, model_pattern in self._routes:
            if path_pattern.match(text) and model_pattern.match(model):
                return Target(self._upstreams[route.to], path, route)
        return None
