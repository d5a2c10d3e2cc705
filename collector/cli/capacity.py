"""`sizewise capacity`: what an instance costs a month, or what a model needs and what that costs."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from collector.cli.options import AsJson, echo_json

if TYPE_CHECKING:
    from collector.sizing.capacity import Fleet
    from collector.sizing.instances import Instance

SECONDS_A_DAY = 86_400


def register(app: typer.Typer) -> None:
    app.command()(capacity)


def capacity(
    instance: Annotated[str, typer.Option(metavar="NAME", help="Such as g5.xlarge.")] = "",
    count: Annotated[int, typer.Option(min=1, help="How many of --instance.")] = 1,
    model: Annotated[str, typer.Option(metavar="SIZE", help="Such as 70b or llama-3.1-8b.")] = "",
    precision: Annotated[str, typer.Option(help="bf16, fp16, fp8, int8, int4, fp32.")] = "bf16",
    tokens_per_day: Annotated[str, typer.Option(metavar="N", help="Output tokens, such as 100M.")] = "",
    peak: Annotated[str, typer.Option(help="The peak as a multiple of the mean load.")] = "3",
    throughput: Annotated[
        str, typer.Option(metavar="TOKENS/S", help="Measured, of one replica at your SLO.")
    ] = "",
    spares: Annotated[int, typer.Option(min=0, help="Replicas beyond the peak.")] = 1,
    regions: Annotated[int, typer.Option(min=1)] = 1,
    redundancy: Annotated[int, typer.Option(min=1, help="Times everything in a region.")] = 1,
    catalog: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instances and prices of your own.")
    ] = None,
    json: AsJson = False,
) -> None:
    """What an instance costs a month; or what to rent for a model, and what that costs."""
    from collector.sizing.instances import BUILT_IN, find_instance, read_instances

    if not instance and not model:
        raise typer.BadParameter("name an --instance, a --model, or both")
    if (tokens_per_day or throughput) and not model:
        raise typer.BadParameter("--tokens-per-day and --throughput need a --model")
    instances = read_instances(catalog or BUILT_IN)
    chosen = find_instance(instance, instances) if instance else None
    if not model:
        assert chosen
        _show_instance(chosen, count, json)
        return
    values = _plan(
        model=model,
        precision=precision,
        per_day=tokens_per_day,
        peak=_decimal(peak, "--peak"),
        throughput=throughput,
        spares=spares,
        copies=regions * redundancy,
        instances=[chosen] if chosen else list(instances.values()),
    )
    if json:
        echo_json(values)
        return
    for line in _lines(values):
        typer.echo(line)


def _decimal(text: str, option: str) -> Decimal:
    try:
        value = Decimal(text)
        if not (value.is_finite() and value > 0):
            raise InvalidOperation
    except InvalidOperation:
        raise typer.BadParameter(f"{option} {text!r} is no number above 0") from None
    return value


def _show_instance(one: "Instance", count: int, json: bool) -> None:
    from collector.sizing.capacity import HOURS_A_MONTH, month_usd

    total = month_usd(one, count)
    if json:
        echo_json({**_instance_values(one), "count": count, "month_usd": f"{total:f}"})
        return
    typer.echo(f"{one.name}: {one.gpus} x {one.gpu} with {one.gpu_memory_gb} GB")
    typer.echo(f"{count} x {HOURS_A_MONTH} hours x ${one.hourly_usd} = ${total:,} a month")
    typer.echo(f"({one.source}, {one.as_of})")


def _instance_values(one: "Instance") -> dict[str, Any]:
    return {
        "instance": one.name,
        "gpu": one.gpu,
        "gpus": one.gpus,
        "gpu_memory_gb": f"{one.gpu_memory_gb:f}",
        "hourly_usd": f"{one.hourly_usd:f}",
        "source": one.source,
        "as_of": one.as_of,
    }


def _plan(
    model: str,
    precision: str,
    per_day: str,
    peak: Decimal,
    throughput: str,
    spares: int,
    copies: int,
    instances: "list[Instance]",
) -> dict[str, Any]:
    from collector.sizing import capacity as arithmetic

    billions = arithmetic.read_billions(model)
    tokens = arithmetic.read_tokens(per_day) if per_day else None
    peak_tokens_s = Decimal(tokens) / SECONDS_A_DAY * peak if tokens else None
    replicas = None
    if throughput and peak_tokens_s is not None:
        replicas = arithmetic.replicas_for(peak_tokens_s, _decimal(throughput, "--throughput"))
    instance = instances[0] if len(instances) == 1 else _cheapest(instances, billions, precision)
    fleet = instance and arithmetic.plan_fleet(
        instance,
        billions,
        precision,
        replicas=replicas or 1,
        spares=spares if replicas else 0,
        copies=copies,
    )
    published = arithmetic.published_month(tokens, billions) if tokens else None
    return {
        "model": model,
        "billions": f"{billions:f}",
        "precision": precision.lower(),
        "weights_gb": f"{arithmetic.weights_gb(billions, precision).normalize():f}",
        "tokens_a_day": tokens,
        "peak_tokens_s": f"{peak_tokens_s:.0f}" if peak_tokens_s else None,
        "replicas": replicas,
        "fleet": _fleet_values(fleet) if fleet else None,
        "published_month_usd": [f"{usd:f}" for usd in published] if published else None,
    }


def _cheapest(instances: "list[Instance]", billions: Decimal, precision: str) -> "Instance | None":
    from collector.sizing.capacity import cheapest_fleet

    fleet = cheapest_fleet(instances, billions, precision)
    return fleet.instance if fleet else None


def _fleet_values(fleet: "Fleet") -> dict[str, Any]:
    return {
        **_instance_values(fleet.instance),
        "instances_a_replica": fleet.per_replica,
        "spares": fleet.spares,
        "copies": fleet.copies,
        "instances": fleet.instances,
        "month_usd": f"{fleet.month_usd:f}",
    }


def _lines(values: dict[str, Any]) -> list[str]:
    from collector.sizing.capacity import BUSY

    lines = [f"{values['model']} at {values['precision']}: {values['weights_gb']} GB of weights"]
    fleet = values["fleet"]
    if fleet is None:
        lines.append("No one instance of the catalogue holds it; --instance NAME says how many of it do.")
    else:
        lines += _fleet_lines(fleet, one_copy=not values["replicas"])
    if values["replicas"]:
        lines.append(
            f"Peak {values['peak_tokens_s']} tokens/s over {BUSY} of the throughput: {values['replicas']} "
            f"replicas, and {fleet['spares'] if fleet else 0} spare."
        )
    elif values["tokens_a_day"]:
        lines.append("How many copies carry the load is not known: give --throughput, measured at your SLO.")
    if values["published_month_usd"]:
        low, high = (Decimal(usd) for usd in values["published_month_usd"])
        cost = f"${low:,}" if low == high else f"${low:,} to ${high:,}"
        lines.append(f"By published costs per output token, 30 days: {cost} a month. A first idea, no plan.")
    return lines


def _fleet_lines(fleet: dict[str, Any], one_copy: bool) -> list[str]:
    from collector.sizing.capacity import HOURS_A_MONTH, ROOM

    gpus = f"{fleet['gpus']} x {fleet['gpu']}, {fleet['gpu_memory_gb']} GB each"
    held = f"must hold {ROOM} x the weights{'; one copy of the model' if one_copy else ''}"
    month = f"${Decimal(fleet['month_usd']):,} a month"
    return [
        f"{fleet['instances']} x {fleet['instance']} ({gpus}; {held})",
        f"{HOURS_A_MONTH} hours x ${fleet['hourly_usd']} x {fleet['instances']} = {month}",
        f"({fleet['source']}, {fleet['as_of']})",
    ]
