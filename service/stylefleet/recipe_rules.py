"""What a recipe must obey, in the words of the manifest: every broken rule is told, with what was found and allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stylefleet.recipe import (
    ITERATIONS_MAX,
    LEARNING_RATE_MAX,
    LEARNING_RATE_MIN,
    SIZE_PX_MAX,
    SIZE_PX_MIN,
    WEIGHT_MAX,
    ZOOM_MAX,
    Recipe,
    layer_names,
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A rule that a recipe breaks, in the words of the manifest."""

    path: tuple[str | int, ...]
    """Where, as in the manifest below `spec.recipe`: `("scales", 1, "size")`."""
    message: str
    """What is wrong."""
    found: str
    """What stands there."""
    allowed: str
    """What may stand there."""

    def __str__(self) -> str:
        place = ".".join(str(part) for part in self.path)
        return f"{place}: {self.message} (found: {self.found}) (allowed: {self.allowed})"


class RecipeInvalid(ValueError):
    """A recipe that cannot be meant; `faults` has every rule that it breaks."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))


def check(recipe: Recipe) -> None:
    """Raises RecipeInvalid with every rule that the recipe breaks."""
    faults = [*_number_faults(recipe), *_layer_faults(recipe), *_scale_faults(recipe), *_refinement_faults(recipe)]
    if faults:
        raise RecipeInvalid(faults)


def _number_faults(recipe: Recipe) -> Iterator[Fault]:
    for field_, value, low, high in (
        ("contentWeight", recipe.content_weight, 0, WEIGHT_MAX),
        ("styleWeight", recipe.style_weight, 0, WEIGHT_MAX),
        ("tvWeight", recipe.tv_weight, 0, WEIGHT_MAX),
        ("learningRate", recipe.learning_rate, LEARNING_RATE_MIN, LEARNING_RATE_MAX),
    ):
        if not low <= value <= high:
            yield _out_of_range((field_,), value, f"{low:g} to {high:g}")
    for field_, value in (("averaging", recipe.averaging), ("plateau", recipe.plateau)):
        if not 0 <= value < 1:
            yield _out_of_range((field_,), value, "0 to below 1")
    if recipe.content_weight == recipe.style_weight == 0:
        message = "contentWeight and styleWeight are both 0: nothing would be painted"
        yield Fault(path=("styleWeight",), message=message, found="0", allowed="more than 0 for one of them")


def _layer_faults(recipe: Recipe) -> Iterator[Fault]:
    names = layer_names(recipe.backbone)
    for field_, weights in (("contentLayers", recipe.content_layers), ("styleLayers", recipe.style_layers)):
        for entry in weights:
            path = (field_, entry.layer)
            if entry.layer not in names:
                message = f"{recipe.backbone} has no such layer"
                yield Fault(path=path, message=message, found=entry.layer, allowed=", ".join(names))
            if not 0 <= entry.weight <= WEIGHT_MAX:
                yield _out_of_range(path, entry.weight, f"0 to {WEIGHT_MAX:g}")
        if not any(entry.weight > 0 for entry in weights):
            message, found = "no layer counts", "weights of 0" if weights else "no layer"
            yield Fault(path=(field_,), message=message, found=found, allowed="a weight above 0 for one layer")


def _scale_faults(recipe: Recipe) -> Iterator[Fault]:
    if not recipe.scales:
        yield Fault(path=("scales",), message="there is no scale", found="[]", allowed="at least one scale")
    before = 0
    for index, scale in enumerate(recipe.scales):
        path = ("scales", index, "size")
        if not SIZE_PX_MIN <= scale.size_px <= SIZE_PX_MAX:
            yield _out_of_range(path, scale.size_px, f"{SIZE_PX_MIN} to {SIZE_PX_MAX}")
        elif scale.size_px <= before:
            message = "sizes grow from scale to scale"
            yield Fault(path=path, message=message, found=str(scale.size_px), allowed=f"more than {before}")
        before = scale.size_px
        yield from _iteration_faults(("scales", index, "iterations"), scale.iterations)


def _refinement_faults(recipe: Recipe) -> Iterator[Fault]:
    for index, refinement in enumerate(recipe.refine):
        left, top, right, bottom = refinement.box
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            rule = "[left, top, right, bottom] as shares of the picture, 0 to 1, left < right and top < bottom"
            found = str(list(refinement.box))
            yield Fault(path=("refine", index, "box"), message="this is no box", found=found, allowed=rule)
        # The style is looked at in the refinement's resolution too: larger than this, it would not fit into memory.
        sized = bool(recipe.scales) and SIZE_PX_MIN <= recipe.size_px <= SIZE_PX_MAX  # if not, that is told already
        zoom_max = min(ZOOM_MAX, SIZE_PX_MAX / recipe.size_px) if sized else ZOOM_MAX
        if not 1 <= refinement.zoom <= zoom_max:
            rule = f"1 to {zoom_max:g}, so that size times zoom is at most {SIZE_PX_MAX}"
            yield _out_of_range(("refine", index, "zoom"), refinement.zoom, rule)
        yield from _iteration_faults(("refine", index, "iterations"), refinement.iterations)


def _iteration_faults(path: tuple[str | int, ...], iterations: int) -> Iterator[Fault]:
    if not 1 <= iterations <= ITERATIONS_MAX:
        yield _out_of_range(path, iterations, f"1 to {ITERATIONS_MAX}")


def _out_of_range(path: tuple[str | int, ...], value: float, allowed: str) -> Fault:
    return Fault(path=path, message="the number is out of range", found=str(value), allowed=allowed)
