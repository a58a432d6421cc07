"""Which arithmetic the convolutions use: a pure choice, and a thin probe of the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stylefleet.engine._tensorflow import tf
from stylefleet.recipe import Precision

CPU_FLAGS_BFLOAT16 = ("amx_bf16", "avx512_bf16")
COMPUTE_CAPABILITY_BFLOAT16 = (8, 0)
"""NVIDIA Ampere, the first generation whose tensor cores take bfloat16."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """What computes."""

    kind: Literal["cpu", "gpu"]
    """A GPU if TensorFlow sees one."""
    name: str
    """As the device calls itself; for receipts."""
    cpu_flags: frozenset[str] = frozenset()
    """Flags of /proc/cpuinfo; empty where there is no such file."""
    compute_capability: tuple[int, int] | None = None
    """Of the GPU; None on a CPU."""


def choose_precision(requested: Precision, device: Device) -> tuple[Literal["float32", "mixed_bfloat16"], str]:
    """(Keras dtype policy, why in one sentence). `auto` takes bfloat16 only where it is native.

    Emulated bfloat16 is about three times slower than float32 (oneDNN without AVX512_BF16), hence the flags.
    """
    if requested != "auto":
        return requested, "the recipe asks for it"
    if device.kind == "gpu":
        found = device.compute_capability
        if found is not None and found >= COMPUTE_CAPABILITY_BFLOAT16:
            return "mixed_bfloat16", f"compute capability {found[0]}.{found[1]} has bfloat16 tensor cores"
        shown = f"{found[0]}.{found[1]}" if found else "unknown"
        return "float32", f"compute capability {shown} is below 8.0, which brought bfloat16"
    for flag in CPU_FLAGS_BFLOAT16:
        if flag in device.cpu_flags:
            return "mixed_bfloat16", f"the CPU has {flag}"
    return "float32", f"the CPU has none of {', '.join(CPU_FLAGS_BFLOAT16)}"


def probe_device(cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """The first GPU that TensorFlow sees, else the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return Device(
            kind="gpu",
            name=details.get("device_name", "GPU"),
            compute_capability=details.get("compute_capability"),
        )
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        fields = {key.strip(): value.strip() for key, _, value in reversed(list(lines))}
    return Device(
        kind="cpu", name=fields.get("model name", "CPU"), cpu_flags=frozenset(fields.get("flags", "").split())
    )
