"""`python -m collector.simulator`: one simulator in the foreground; its first line names its port."""

import argparse
import asyncio
import signal
import sys
from typing import get_args

import msgspec
import uvloop

from collector.simulator.behaviour import Behaviour, Flavour
from collector.simulator.directives import describe_directives
from collector.simulator.launch import stop_serving
from collector.simulator.reply import encode
from collector.simulator.server import serve
from collector.simulator.service import Service

_HELP = "An upstream that answers like OpenAI, Azure, Mistral, Anthropic and vLLM."


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m collector.simulator",
        description=_HELP,
        epilog=f"Per request, in a prompt as [[sim: ...]] or in the header x-sim: {describe_directives()}",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--quiet", action="store_true", help="say nothing but the line with the port")
    parser.add_argument(
        "--log", dest="log_file", default="", metavar="FILE", help="append the truth log to it"
    )
    parser.add_argument(
        "--flavour", choices=get_args(Flavour), help="of all replies; else by the model's name"
    )
    parser.add_argument("--api-key", default="", help="any other key gets 401")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first-ms", type=float, default=0.0, help="until the first token")
    parser.add_argument("--gap-ms", type=float, default=0.0, help="between tokens")
    parser.add_argument("--tokens", type=int, help="how many the model says; else 16 to 64")
    parser.add_argument("--max-model-len", type=int, default=131_072)
    for flag in ("prompt-tokens-details", "force-include-usage", "per-request-metrics"):
        parser.add_argument(f"--{flag}", action="store_true", help=f"as vLLM's --enable-{flag}")
    return parser.parse_args()


async def _serve(behaviour: Behaviour, arguments: argparse.Namespace) -> None:
    service = Service(behaviour)
    server, connections = await serve(service, arguments.host, arguments.port)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(encode({"port": port}).decode() + "\n")
    sys.stdout.flush()
    if not arguments.quiet:
        sys.stderr.write(f"Simulated upstreams at http://{arguments.host}:{port}; Ctrl-C ends them.\n")
    await stopping.wait()
    await stop_serving(server, connections)
    service.truth.close()


def main() -> None:
    arguments = _read_arguments()
    fields = {name: getattr(arguments, name) for name in Behaviour.__struct_fields__}
    behaviour = msgspec.convert(fields, Behaviour)
    try:
        uvloop.run(_serve(behaviour, arguments))
    except OSError as error:
        sys.exit(f"The simulator can't listen on {arguments.host}:{arguments.port}: {error}")


if __name__ == "__main__":
    main()
