"""The GPUs of this host, asked of NVIDIA's own library (NVML) where it is installed. None is no problem."""

import ctypes
from pathlib import Path

import msgspec

from collector.doctor.finding import Finding, ok, warning

LIBRARY = "libnvidia-ml.so.1"
DRIVER = Path("/proc/driver/nvidia/version")
NAME_BYTES = 96


class GpuFact(msgspec.Struct, frozen=True):
    names: list[str] = []
    driver: bool = False  # a driver is loaded
    failure: str = ""  # why the driver can't be asked


def gather(driver: Path = DRIVER, library: str = LIBRARY) -> GpuFact:
    loaded = driver.exists()
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return GpuFact(driver=loaded, failure=f"{library} is not installed")
    code = nvml.nvmlInit_v2()
    if code:
        return GpuFact(driver=loaded, failure=f"NVML does not start (code {code})")
    try:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return GpuFact(names=[_read_name(nvml, index) for index in range(count.value)], driver=True)
    finally:
        nvml.nvmlShutdown()


def _read_name(nvml: ctypes.CDLL, index: int) -> str:
    device, name = ctypes.c_void_p(), ctypes.create_string_buffer(NAME_BYTES)
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
        return "?"
    if nvml.nvmlDeviceGetName(device, name, NAME_BYTES):
        return "?"
    return name.value.decode("ascii", "replace")


def judge(fact: GpuFact) -> list[Finding]:
    if fact.names:
        kinds = ", ".join(f"{fact.names.count(name)} x {name}" for name in dict.fromkeys(fact.names))
        return [ok("gpu.found", kinds, names=fact.names)]
    if fact.driver and fact.failure:
        why = "There are GPUs, but their use can't be measured, so what they cost can't be shared out."
        remedy = "install the driver's library (libnvidia-compute), or pass it in (docker run --gpus all)"
        text = f"a driver is loaded, but it can't be asked: {fact.failure}"
        return [warning("gpu.unreadable", text, why, remedy)]
    return [ok("gpu.none", "no NVIDIA GPU here; nothing is measured on this host, which is fine")]
