"""The web application: routes, guards and errors put together. A Config comes in, an ASGI app leaves.

An error is JSON for scripts and a page for people: the path decides, so that a script never gets HTML.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import collector
from collector.config import Config
from collector.web import api, health, metrics, otlp, pages
from collector.web.database import Database, DatabaseDown
from collector.web.guard import Guard, check_listen
from collector.web.parameters import BadRequest, NotFound
from collector.web.state import State, now

log = logging.getLogger(__name__)

FOR_SCRIPTS = ("/api/", "/healthz", "/readyz", "/metrics", "/v1/")
TITLES = {
    400: "That can't be shown",
    404: "Not found",
    405: "Not allowed",
    503: "The ledger can't be read now",
}


class Static(StaticFiles):
    """Files with their digest in the URL never change; without it they are asked for again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        lasting = b"v=" in scope["query_string"]
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if lasting else "no-cache"
        return response


def make_app(config: Config, *, clock: Callable[[], datetime] = now) -> FastAPI:
    host = check_listen(config.web.listen)
    state = State(config, Database(config.database_url), clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        state.database.close()
        app.state.reception.close()

    app = FastAPI(
        title="Sizewise",
        version=collector.__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.sizewise = state
    app.state.reception = otlp.Reception(config)
    app.state.registry = metrics.make_registry(state)
    for router in (api.router, health.router, metrics.router, otlp.router, pages.router):
        app.include_router(router)
    app.mount("/static", Static(directory=pages.STATIC))
    app.add_middleware(Guard, names=[host])
    app.add_exception_handler(BadRequest, refused)
    app.add_exception_handler(DatabaseDown, unavailable)
    app.add_exception_handler(HTTPException, not_routed)
    app.add_exception_handler(Exception, failed)
    return app


def answer(request: Request, status: int, code: str, message: str, allowed: list[str]) -> Response:
    if request.url.path.startswith(FOR_SCRIPTS):
        error: dict[str, Any] = {"code": code, "message": message, "allowed": allowed}
        return JSONResponse({"error": error}, status)
    return pages.problem_page(request, status, TITLES.get(status, "Something went wrong"), message, allowed)


def refused(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, BadRequest)
    status = 404 if isinstance(problem, NotFound) else 400
    return answer(request, status, problem.code, str(problem), problem.allowed)


def unavailable(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, DatabaseDown)
    response = answer(request, 503, problem.code, str(problem), [])
    response.headers["retry-after"] = "5"
    return response


def not_routed(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    allowed = [one for one in (problem.headers or {}).get("Allow", "").split(", ") if one]
    code = {404: "no_such_page", 405: "method_not_allowed"}.get(problem.status_code, "refused")
    message = "There is nothing at this address." if problem.status_code == 404 else problem.detail
    response = answer(request, problem.status_code, code, message, allowed)
    response.headers.update(problem.headers or {})
    return response


def failed(request: Request, problem: Exception) -> Response:
    """A mistake of ours: the log has it, the answer has no inner detail."""
    log.error("a request failed: %s %s", request.url.path[:200], type(problem).__name__, exc_info=problem)
    return answer(request, 500, "internal_error", "Sizewise made a mistake; its log says more.", [])
