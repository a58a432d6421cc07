"""The loaded engine: a backbone with verified weights, and the two programs that run on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylefleet.engine import backbone as backbones
from stylefleet.engine import objective, optimizers
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.convolution import fastest_convolution
from stylefleet.engine.objective import CONTENT_LAYER, OUTPUT_LAYERS, STYLE_LAYERS, Terms
from stylefleet.engine.precision import choose_precision, probe_device
from stylefleet.engine.weights import read_weights
from stylefleet.recipe import Backbone, Precision


@dataclass(frozen=True, kw_only=True, eq=False)
class Engine:
    """Everything that is loaded once per process. Make one with `load_engine`."""

    backbone: Backbone
    """Whose features."""
    weights_sha256: str
    """SHA-256 (hex) of the weights file."""
    precision: str
    """Keras dtype policy of the convolutions."""
    precision_reason: str
    """Why this precision, in one sentence."""
    device: str
    """What computes, as it calls itself."""
    tensorflow_version: str
    """Version of TensorFlow."""
    activations: Callable[..., dict[str, tf.Tensor]] = field(repr=False)
    """float32 pixels [B, H, W, 3] -> activations by layer."""
    advance: Callable[..., tuple[optimizers.State, Terms]] = field(repr=False)
    """(state, terms, content, grams, weights, iterations) -> (state, terms) after so many optimizer iterations."""


def load_engine(
    *,
    backbone: Backbone,
    precision: Precision = "auto",
    weights_path: Path | None = None,
    weights_sha256: str | None = None,
    threads: int | None = None,
) -> Engine:
    """The engine, ready to run. Raises WeightsInvalid.

    `threads` is the number of cores to compute on (in a container: its CPU limit). TensorFlow takes it only before
    its first operation, so the first engine of a process decides.
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        # Operations of one graph run one after the other: they are large, and two at once only share the cores.
        tf.config.threading.set_inter_op_parallelism_threads(1)
    device = probe_device()
    policy, reason = choose_precision(precision, device)
    names = backbones.layer_names(backbone, deepest=max(OUTPUT_LAYERS))
    weights = read_weights(backbone, names, weights_path=weights_path, weights_sha256=weights_sha256)
    model = backbones.build(
        backbone, weights, outputs=OUTPUT_LAYERS, precision=policy, convolution=fastest_convolution(policy, device)
    )
    # XLA compiles anew for every shape, and on a CPU its convolutions are slower than oneDNN's: GPU only.
    compiled = {"jit_compile": device.kind == "gpu"}
    return Engine(
        backbone=backbone,
        weights_sha256=weights.sha256,
        precision=policy,
        precision_reason=reason,
        device=device.name,
        tensorflow_version=tf.__version__,
        activations=_activations(model, compiled),
        advance=_advance(model, compiled),
    )


PIXELS = tf.TensorSpec([None, None, None, 3], tf.float32)
PER_PICTURE = tf.TensorSpec([None], tf.float32)
SCALAR = tf.TensorSpec([], tf.float32)
STATE = optimizers.State(
    x=PIXELS,
    loss=PER_PICTURE,
    gradient=PIXELS,
    direction=PIXELS,
    step=PER_PICTURE,
    refusals=tf.TensorSpec([None], tf.int32),
    s=(PIXELS,) * optimizers.HISTORY,
    y=(PIXELS,) * optimizers.HISTORY,
    rho=(PER_PICTURE,) * optimizers.HISTORY,
    gamma=PER_PICTURE,
)
TERMS = Terms(PER_PICTURE, PER_PICTURE, PER_PICTURE)
"""Signatures leave every size open, so that a picture of a new shape runs without being traced again."""


def _activations(model: keras.Model, compiled: dict[str, Any]) -> Callable[..., dict[str, tf.Tensor]]:
    @tf.function(input_signature=[PIXELS], **compiled)
    def activations(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(OUTPUT_LAYERS, model(pixels, training=False), strict=True))

    return activations


def _advance(model: keras.Model, compiled: dict[str, Any]) -> Callable[..., tuple[optimizers.State, Terms]]:
    channels = [model.get_layer(name).filters for name in (*STYLE_LAYERS, CONTENT_LAYER)]
    signature = [
        STATE,
        TERMS,
        tf.TensorSpec([None, None, None, channels[-1]], model.get_layer(CONTENT_LAYER).compute_dtype),
        tuple(tf.TensorSpec([c, c], tf.float32) for c in channels[:-1]),
        Terms(SCALAR, SCALAR, SCALAR),
        tf.TensorSpec([], tf.int32),
    ]

    def evaluate(pixels, content, grams, weights):  # type: ignore[no-untyped-def]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            *styles, found = model(pixels, training=False)
            terms = Terms(
                style=objective.style_term(tuple(objective.gram(f) for f in styles), grams),
                content=objective.content_term(found, content),
                tv=objective.tv_term(pixels),
            )
            loss = terms.total(weights)
        # The pictures of a batch do not touch each other, so the gradient of the sum holds each one's own.
        return loss, tape.gradient(loss, pixels), terms

    @tf.function(input_signature=signature, **compiled)
    def advance(state, terms, content, grams, weights, iterations):  # type: ignore[no-untyped-def]
        def body(i, state, terms):  # type: ignore[no-untyped-def]
            loss, gradient, tried = evaluate(optimizers.trial(state), content, grams, weights)
            state, accepted = optimizers.update(state, loss, gradient)
            return i + 1, state, Terms(*(tf.where(accepted, a, b) for a, b in zip(tried, terms, strict=True)))

        return tf.while_loop(lambda i, *_: i < iterations, body, (0, state, terms))[1:]

    return advance
