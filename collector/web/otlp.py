"""OTLP in over HTTP: POST /v1/traces and /v1/metrics, in protobuf or JSON, gzipped or not.

What the protocol wants: the answer has the form of the request; success may be partial; a request that can't
be read gets 4xx, which no exporter repeats, and one that can't be kept now 503, which every exporter does;
both with a google.rpc.Status. A browser can't send here: neither content type passes without asking first.
"""

import logging
from collections.abc import Callable
from threading import Lock

import psycopg
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from collector.config import Config
from collector.config.effective import plan_upstream
from collector.errors import SizewiseError, StoreError
from collector.ledger.database import REFUSALS
from collector.ledger.heard import (
    BODY_BYTES,
    INTERNAL,
    INVALID_ARGUMENT,
    JSON,
    MOST_BYTES,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    Answer,
    Form,
    Unreadable,
    answer_metrics,
    answer_problem,
    answer_traces,
    read_form,
    read_metrics,
    read_traces,
    unpack,
)
from collector.ledger.prices import PriceList
from collector.ledger.receiver import Receiver
from collector.ledger.shelf import BookWatch, shelf_of
from collector.ledger.sightings import Place, Places
from collector.web.guard import is_loopback

log = logging.getLogger(__name__)
router = APIRouter()
OUR_OWN = ("127.0.0.1", "localhost", "::1")
RETRY_S = "5"


class Reception:
    """The receiver, made when the first request comes: most installations never need it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._receiver: Receiver | None = None
        self._lock = Lock()

    def receiver(self) -> Receiver:
        """Raises SizewiseError where the price books are wrong, or there is no database."""
        with self._lock:
            if self._receiver is None:
                config = self._config
                if not config.database_url:
                    raise StoreError("no database is configured: set database.url")
                prices = PriceList(aliases=config.prices.aliases)
                self._receiver = Receiver(
                    config.database_url,
                    prices,
                    tenant=config.tenant,
                    places=known_places(config),
                    retention_days=config.database.retention_days,
                    look_at_books=BookWatch(shelf_of(config), prices).look,
                )
            return self._receiver

    def close(self) -> None:
        with self._lock:
            if self._receiver is not None:
                self._receiver.close()


def known_places(config: Config) -> Places:
    plans = [plan_upstream(name, upstream) for name, upstream in config.upstreams.items()]
    host, _, port = config.relay.listen.rpartition(":")
    host = host.strip("[]").lower()
    hosts = {host, *OUR_OWN} if is_loopback(host) or host in ("0.0.0.0", "::") else {host}  # noqa: S104
    return Places(
        {(plan.host.lower(), plan.port): Place(plan.name, plan.provider, plan.zone) for plan in plans},
        frozenset((one, int(port)) for one in hosts),
    )


@router.post("/v1/traces")
async def traces(request: Request) -> Response:
    return await take(request, take_traces)


@router.post("/v1/metrics")
async def metrics(request: Request) -> Response:
    return await take(request, take_metrics)


def take_traces(receiver: Receiver, body: bytes, form: Form) -> Answer:
    taken = receiver.take_traces(read_traces(body, form))
    return answer_traces(form, taken.refused, taken.reason)


def take_metrics(receiver: Receiver, body: bytes, form: Form) -> Answer:
    taken = receiver.take_metrics(read_metrics(body, form))
    return answer_metrics(form, taken.refused, taken.reason)


Work = Callable[[Receiver, bytes, Form], Answer]


async def take(request: Request, work: Work) -> Response:
    form: Form = JSON  # of the answer, until the request says which
    try:
        form = read_form(request.headers.get("content-type", ""))
        body = await read_body(request)
        encoding = request.headers.get("content-encoding", "")
        reception: Reception = request.app.state.reception
        answer = await run_in_threadpool(work_on, reception, work, body, encoding, form)
    except Unreadable as problem:
        answer = answer_problem(form, problem.status, problem.code, str(problem))
    headers = {"retry-after": RETRY_S} if answer.status == 503 else None
    return Response(answer.body, answer.status, headers, answer.form)


async def read_body(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_BYTES:
            raise Unreadable(413, RESOURCE_EXHAUSTED, f"the body is too large; {BODY_BYTES}")
        pieces.append(piece)
    return b"".join(pieces)


def work_on(reception: Reception, work: Work, body: bytes, encoding: str, form: Form) -> Answer:
    try:
        return work(reception.receiver(), unpack(body, encoding), form)
    except Unreadable:
        raise
    except REFUSALS as problem:
        log.warning("a request by OTLP holds what the ledger can't: %s", type(problem).__name__)
        return answer_problem(form, 400, INVALID_ARGUMENT, "the ledger can't hold a value of this request")
    except (psycopg.Error, SizewiseError) as problem:
        log.warning("OTLP can't be kept now: %s", type(problem).__name__)
        return answer_problem(form, 503, UNAVAILABLE, "the ledger can't be written now: send it again")
    except Exception:
        log.exception("a request by OTLP failed")
        return answer_problem(form, 500, INTERNAL, "Sizewise made a mistake; its log says more")
