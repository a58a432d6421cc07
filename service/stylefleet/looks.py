"""Loading for a shard: the engine, and what every region is to look like at every stage."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from stylefleet import engine as engines
from stylefleet import naming, pictures, style_cache
from stylefleet.errors import (
    AccessDenied,
    ImageInvalid,
    NotFound,
    PreconditionFailed,
    ScratchUnusable,
    StylefleetError,
    WeightsInvalid,
)
from stylefleet.plan import Plan, StyleShare, regions
from stylefleet.receipt import EngineFacts
from stylefleet.recipe import Recipe
from stylefleet.settings import WorkerSettings
from stylefleet.store import Store

LooksOf = Callable[[np.ndarray], engines.Looks]
"""The looks for contents uint8 [B, H, W, 3]."""


class LoadFailed(Exception):
    """The styles or the weights cannot be used, so no picture can be done; `reason` is a short word for receipts."""

    def __init__(self, reason: str, error: StylefleetError) -> None:
        self.reason = reason
        super().__init__(str(error))


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """What all pictures of a shard share."""

    engine: engines.Engine
    facts: EngineFacts
    looks_of: LooksOf
    style_seconds: float
    """That the styles took."""
    style_hits: int
    """Style targets that were in the cache."""
    style_misses: int
    """Style targets that were not; both are 0 for recipes whose looks depend on the contents, which need no cache."""


def load(store: Store, settings: WorkerSettings, plan: Plan) -> Loaded:
    """Raises LoadFailed, and TransientError where the store does not answer."""
    try:
        groups = [[(_style(store, s), s.weight) for s in group] for group in regions(plan.styles).values()]
        engine = load_engine(store, settings, plan.recipe)
        started = time.monotonic()
        looks_of, hits, misses = _looks_of(store, settings.store.bucket, engine, groups, plan)
    except WeightsInvalid as error:
        raise LoadFailed("weights_invalid", error) from error
    except (NotFound, PreconditionFailed, ImageInvalid) as error:
        raise LoadFailed("style_invalid", error) from error
    facts = EngineFacts(
        backbone=engine.backbone,
        weights_sha256=engine.weights_sha256,
        precision=engine.precision,
        precision_reason=engine.precision_reason,
        device=engine.device,
        gpus=engine.gpus,
    )
    return Loaded(
        engine=engine,
        facts=facts,
        looks_of=looks_of,
        style_seconds=time.monotonic() - started,
        style_hits=hits,
        style_misses=misses,
    )


def load_engine(store: Store, settings: WorkerSettings, recipe: Recipe) -> engines.Engine:
    """The engine with the weights that the settings name. Raises WeightsInvalid."""
    if recipe.backbone != "vgg19-imagenet":
        return engines.load_engine(recipe)  # the other backbone brings its own file
    with _weights_file(store, settings) as path:
        return engines.load_engine(recipe, weights_path=path, weights_sha256=settings.weights_sha256)


@contextmanager
def _weights_file(store: Store, settings: WorkerSettings) -> Iterator[Path | None]:
    """The named weights as a file; an object is kept in the scratch folder while it is read.

    Whoever reads the file checks its SHA-256 before anything is parsed. Raises WeightsInvalid, ScratchUnusable.
    """
    if settings.weights_object is None:
        yield settings.weights_path
        return
    try:
        data = store.get(settings.weights_object).data
    except (NotFound, AccessDenied) as error:
        raise WeightsInvalid(f"The weights {settings.weights_object} cannot be read: {error}") from error
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / PurePosixPath(settings.weights_object.key).name
            path.write_bytes(data)
        except OSError as error:
            raise ScratchUnusable(
                f"{tempfile.gettempdir()}: no place for {len(data):,} bytes of weights: {error.strerror}. Give workers "
                "more scratch space (STYLEFLEET_WORKER_SCRATCH), or nodes with a free disk"
            ) from error
        yield path


def _style(store: Store, style: StyleShare) -> bytes:
    try:
        return store.get(style.image, if_match=style.etag).data
    except PreconditionFailed as error:
        raise PreconditionFailed(f"{style.image}: the style was replaced after the run was planned") from error


def _looks_of(
    store: Store, bucket: str, engine: engines.Engine, groups: Sequence[Sequence[style_cache.Weighted]], plan: Plan
) -> tuple[LooksOf, int, int]:
    """The same looks for all contents, or those that are made for the contents of each batch; and what the cache had of
    their targets, and had not. Raises ImageInvalid."""
    recipe = plan.recipe
    if recipe.colors == "style":
        found = style_cache.looks(store, bucket, engine, groups, recipe, tenant=naming.tenant_of(plan.name))
        return lambda _contents: found.looks, found.hits, found.misses
    decoded = [[(pictures.decode(data), weight) for data, weight in group] for group in groups]
    for pixels, _ in itertools.chain.from_iterable(decoded):
        # A style that no stage can look at is told now: later it would seem to be the fault of one batch.
        for size_px in recipe.style_sizes_px:
            pictures.result_size(pixels.shape[1], pixels.shape[0], size_px)
    return lambda contents: engines.looks_for(engine, decoded, recipe, contents), 0, 0
