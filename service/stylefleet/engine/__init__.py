"""The engine: pictures in, restyled pictures out. It knows no storage and no cluster, and alone imports TensorFlow.

engine = load_engine(backbone="vgg16-hed")
pixels = pictures.resize(pictures.decode(data), *pictures.result_size(width, height, recipe.size_px))
targets = tuple(style_target(engine, style, scale.size_px) for scale in recipe.scales)
for iterate in stylize(engine, pixels[None], targets, recipe): ...
pictures.encode(iterate.pixels[0], format="jpeg", quality=92)
"""

from stylefleet.engine.engine import Engine, load_engine
from stylefleet.engine.precision import Device, choose_precision, probe_device
from stylefleet.engine.stylize import Iterate, run, stylize
from stylefleet.engine.targets import (
    LayerStatistics,
    StyleTarget,
    StyleTargetCorrupt,
    blend,
    from_bytes,
    style_target,
    to_bytes,
)

__all__ = [
    "Device",
    "Engine",
    "Iterate",
    "LayerStatistics",
    "StyleTarget",
    "StyleTargetCorrupt",
    "blend",
    "choose_precision",
    "from_bytes",
    "load_engine",
    "probe_device",
    "run",
    "style_target",
    "stylize",
    "to_bytes",
]
