"""Which arithmetic the convolutions use: a pure choice, and a thin probe of the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stylefleet.engine._tensorflow import tf
from stylefleet.recipe import Precision

Policy = Literal["float32", "mixed_bfloat16", "mixed_float16"]

CPU_FLAGS_BFLOAT16 = ("amx_bf16", "avx512_bf16")
COMPUTE_CAPABILITY_BFLOAT16 = (8, 0)
"""NVIDIA Ampere, the first generation whose tensor cores take bfloat16."""
COMPUTE_CAPABILITY_FLOAT16 = (7, 0)
"""NVIDIA Volta, the first generation with tensor cores; they take float16."""


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


def choose_precision(requested: Precision, device: Device) -> tuple[Policy, str]:
    """(Keras dtype policy, why in one sentence). `auto` takes half precision only where it is native.

    Emulated bfloat16 is about three times slower than float32 (oneDNN without AVX512_BF16), hence the flags, and
    float16 has no fast code on any CPU.
    """
    if requested != "auto":
        return requested, "the recipe asks for it"
    if device.kind == "gpu":
        return _of_gpu(device.compute_capability)
    for flag in CPU_FLAGS_BFLOAT16:
        if flag in device.cpu_flags:
            return "mixed_bfloat16", f"the CPU has {flag}"
    return "float32", f"the CPU has none of {', '.join(CPU_FLAGS_BFLOAT16)}"


def _of_gpu(found: tuple[int, int] | None) -> tuple[Policy, str]:
    if found is None:
        return "float32", "the GPU's compute capability is unknown"
    shown = f"compute capability {found[0]}.{found[1]}"
    if found >= COMPUTE_CAPABILITY_BFLOAT16:
        return "mixed_bfloat16", f"{shown} has bfloat16 tensor cores"
    if found >= COMPUTE_CAPABILITY_FLOAT16:
        return "mixed_float16", f"{shown} has float16 tensor cores, and none for bfloat16"
    return "float32", f"{shown} is below 7.0, which brought tensor cores"


def compute_dtype(policy: Policy) -> str:
    """The dtype of convolutions under a policy; everything else is float32 under all of them."""
    return policy.removeprefix("mixed_")


def gpu_memory() -> tuple[int, int]:
    """Bytes that TensorFlow has in use on its first GPU, and the most that it had. Raises ValueError without a GPU."""
    info = tf.config.experimental.get_memory_info("GPU:0")
    return info["current"], info["peak"]


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
