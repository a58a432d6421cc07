"""The engine: pictures in, restyled pictures out. It knows no storage and no cluster, and alone imports TensorFlow.

result = stylize(photo, painting, preset="balanced", size_px=512)

The same in parts, for batches, masks, starts and checkpoints:

engine = load_engine(recipe)
pixels = pictures.resize(pictures.decode(data), *pictures.result_size(width, height, recipe.size_px))
looks = looks_for(engine, [[(style_pixels, 1.0)]], recipe, pixels[None])
for iterate in optimize(engine, Batch(contents=pixels[None]), looks, recipe): ...
pictures.encode(iterate.pixels[0], format="jpeg", quality=92)
"""

from stylefleet.engine.batch import Batch
from stylefleet.engine.checkpoint import CheckpointCorrupt, checkpoint_position
from stylefleet.engine.engine import Engine, load_engine
from stylefleet.engine.optimize import Iterate, optimize, run
from stylefleet.engine.precision import Device, choose_precision, gpu_memory, probe_device
from stylefleet.engine.stylize import stylize
from stylefleet.engine.targets import (
    LayerStatistics,
    Looks,
    StyleTarget,
    StyleTargetCorrupt,
    blend,
    from_bytes,
    looks_for,
    style_target,
    to_bytes,
)

__all__ = [
    "Batch",
    "CheckpointCorrupt",
    "Device",
    "Engine",
    "Iterate",
    "LayerStatistics",
    "Looks",
    "StyleTarget",
    "StyleTargetCorrupt",
    "blend",
    "checkpoint_position",
    "choose_precision",
    "from_bytes",
    "gpu_memory",
    "load_engine",
    "looks_for",
    "optimize",
    "probe_device",
    "run",
    "style_target",
    "stylize",
    "to_bytes",
]
