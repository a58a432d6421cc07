"""The loaded engine: a backbone with verified weights, and the programs that run on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from stylefleet import recipe_rules
from stylefleet.engine import backbone as backbones
from stylefleet.engine import objective
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.convolution import fastest_convolution
from stylefleet.engine.objective import Layers
from stylefleet.engine.precision import Policy, choose_precision, compute_dtype, probe_device
from stylefleet.engine.programs import Programs
from stylefleet.engine.tiles import Tiler
from stylefleet.engine.weights import read_weights
from stylefleet.recipe import Backbone, Pooling, Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """Everything that is loaded once per process, for recipes of one backbone, pooling, choice of layers and
    precision. Make one with `load_engine`."""

    backbone: Backbone
    """Whose features."""
    pooling: Pooling
    """Between its blocks."""
    layers: Layers
    """What the objective looks at."""
    weights_sha256: str
    """SHA-256 (hex) of the weights file."""
    precision: Policy
    """Keras dtype policy of the convolutions."""
    precision_reason: str
    """Why this precision, in one sentence."""
    device: str
    """What computes, as it calls itself."""
    gpus: int
    """How many GPUs that is: 0 where it is a CPU."""
    tensorflow_version: str
    """Version of TensorFlow."""
    activations: Callable[[tf.Tensor], dict[str, tf.Tensor]] = field(repr=False)
    """float32 pixels [B, H, W, 3] -> activations by layer."""
    programs: Programs = field(repr=False)
    """The steps of the optimization."""
    tiler: Tiler = field(repr=False)
    """The same objective for pictures that are too large to go through the network at once."""


def load_engine(
    recipe: Recipe,
    *,
    weights_path: Path | None = None,
    weights_sha256: str | None = None,
    threads: int | None = None,
) -> Engine:
    """The engine for a recipe, ready to run; it serves every recipe that differs in other fields only. Raises
    RecipeInvalid, WeightsInvalid.

    `threads` is the number of cores to compute on (in a container: its CPU limit). TensorFlow takes it only before
    its first operation, so the first engine of a process decides.
    """
    recipe_rules.check(recipe)
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # Operations of one graph run one after the other: they are large, and two at once only share the cores.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    device = probe_device()
    policy, reason = choose_precision(recipe.precision, device)
    layers = objective.layers_of(recipe)
    deepest = max(layers.outputs)
    weights = read_weights(
        recipe.backbone,
        backbones.layers_up_to(recipe.backbone, deepest),
        weights_path=weights_path,
        weights_sha256=weights_sha256,
    )
    model = backbones.build(
        recipe.backbone,
        weights,
        outputs=layers.outputs,
        precision=compute_dtype(policy),
        pooling=recipe.pooling,
        convolution=fastest_convolution(policy, device),
    )
    xla = device.kind == "gpu"
    return Engine(
        backbone=recipe.backbone,
        pooling=recipe.pooling,
        layers=layers,
        weights_sha256=weights.sha256,
        precision=policy,
        precision_reason=reason,
        device=device.name,
        gpus=1 if device.kind == "gpu" else 0,
        tensorflow_version=tf.__version__,
        activations=_activations(model, layers, xla=xla),
        programs=Programs(model, layers, xla=xla),
        tiler=Tiler(model, layers, reach_px=backbones.reach(recipe.backbone, deepest)),
    )


def serves(engine: Engine, recipe: Recipe) -> bool:
    """Whether the engine was loaded for recipes like this one."""
    wanted = recipe.backbone, recipe.pooling, objective.layers_of(recipe)
    return (engine.backbone, engine.pooling, engine.layers) == wanted and recipe.precision in ("auto", engine.precision)


def _activations(model: keras.Model, layers: Layers, *, xla: bool) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    # The signature leaves every size open, so that a picture of a new shape runs without being traced again.
    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)], jit_compile=xla)
    def activations(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(layers.outputs, model(pixels, training=False), strict=True))

    return activations
