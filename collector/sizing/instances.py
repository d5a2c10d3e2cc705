"""The catalogue of instances: a YAML file comes in, checked Instances with their source and date leave."""

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from collector.errors import SizewiseError

BUILT_IN = Path(__file__).with_name("instances.yaml")
FIELDS = {"gpu", "gpus", "gpu_memory_gb", "hourly_usd"}


class Instance(NamedTuple):
    name: str
    gpu: str
    gpus: int
    gpu_memory_gb: Decimal  # of one GPU
    hourly_usd: Decimal
    source: str
    as_of: str

    @property
    def memory_gb(self) -> Decimal:
        return self.gpus * self.gpu_memory_gb


def read_instances(path: Path = BUILT_IN) -> dict[str, Instance]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not all(found.get(key) for key in ("source", "as_of", "instances")):
        raise SizewiseError(f"{path}: a catalogue has source, as_of and instances")
    return {
        str(name): read_instance(path, str(name), values, str(found["source"]), str(found["as_of"]))
        for name, values in found["instances"].items()
    }


def read_instance(path: Path, name: str, values: Any, source: str, as_of: str) -> Instance:
    if not isinstance(values, dict) or set(values) != FIELDS:
        raise SizewiseError(f"{path}: instance {name} has exactly {', '.join(sorted(FIELDS))}")
    try:
        gpus = int(values["gpus"])
        memory_gb, hourly_usd = (Decimal(str(values[key])) for key in ("gpu_memory_gb", "hourly_usd"))
        if not (gpus > 0 and memory_gb > 0 and hourly_usd >= 0):
            raise ValueError
    except (ValueError, TypeError, InvalidOperation):
        raise SizewiseError(
            f"{path}: instance {name}: gpus and gpu_memory_gb are above 0, hourly_usd is a decimal"
        ) from None
    return Instance(name, str(values["gpu"]), gpus, memory_gb, hourly_usd, source, as_of)


def find_instance(name: str, instances: dict[str, Instance]) -> Instance:
    if name not in instances:
        raise SizewiseError(
            f"no instance {name!r} in the catalogue: there are {', '.join(sorted(instances))}"
        )
    return instances[name]
