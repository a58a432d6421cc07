"""The recipe as a user writes it; the preset fills in what is left out."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from stylefleet import presets, recipe, recipe_rules
from stylefleet.fields import Model

SCALES_MAX = 16
REFINE_MAX = 16

Size = Annotated[int, Field(ge=recipe.SIZE_PX_MIN, le=recipe.SIZE_PX_MAX)]
Iterations = Annotated[int, Field(ge=1, le=recipe.ITERATIONS_MAX)]
TermWeight = Annotated[float, Field(ge=0, le=recipe.WEIGHT_MAX)]
LayerWeights = Annotated[dict[str, TermWeight], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ScaleSpec(Model):
    """One size of the coarse-to-fine sequence."""

    size: Size
    """Longer edge of the picture at this scale, in pixels."""
    iterations: Iterations
    """Optimizer steps at this scale, at the most."""


class RefinementSpec(Model):
    """A box of the result, such as a face, that is worked out once more at a higher resolution."""

    box: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=4, max_length=4)]
    """Left, top, right and bottom as shares of the picture's width and height, such as `[0.4, 0.1, 0.6, 0.4]`."""
    zoom: Annotated[float, Field(ge=1, le=recipe.ZOOM_MAX)] = 2.0
    """How many times finer than the result the box is painted."""
    iterations: Iterations = 60
    """Optimizer steps for the box, at the most."""


class RecipeSpec(Model):
    """How the pictures are restyled."""

    preset: recipe.Preset = "balanced"
    """`draft` is a quick look, `balanced` the default, `fine` the most careful; `impressionist` lets strokes run over
    edges, `portrait` keeps faces."""
    size: Size = 512
    """Longer edge of the result in pixels; with `scales`, the size of the last one."""
    scales: Annotated[list[ScaleSpec], Field(min_length=1, max_length=SCALES_MAX)] | None = None
    """Instead of the preset's coarse-to-fine sequence: sizes that grow, the last one is the result's."""
    refine: Annotated[list[RefinementSpec], Field(max_length=REFINE_MAX)] = Field(default=[])
    """Boxes that are worked out finer at the end, in this order."""
    content_weight: TermWeight | None = None
    """Strength of the content: higher keeps more of the photo; 1e3 is the balanced look. The preset decides where it is
    left out."""
    style_weight: TermWeight = 1e-2
    """Strength of the style: higher paints more."""
    tv_weight: TermWeight | None = None
    """Strength of smoothing (total variation); 1 is the balanced look. The preset decides where it is left out."""
    content_layers: LayerWeights | None = None
    """Layers where the result must look like the photo, with their weights, such as `{block4_conv2: 1}`. The preset
    decides where they are left out."""
    style_layers: LayerWeights | None = None
    """Layers where the result must have the style's statistics, with their weights: shallow ones (`block1_conv1`) hold
    colour and grain, deep ones (`block5_conv1`) large shapes. Left out: the first of each block, 0.2 each."""
    statistics: recipe.Statistics = "gram"
    """What of a style is matched: its Gram matrices, or these and the mean of every channel."""
    pooling: recipe.Pooling = "max"
    """`max` as the network was trained, or `average`, which gives softer strokes."""
    optimizer: recipe.Optimizer = "lbfgs"
    """`lbfgs` needs the fewest steps; `adam` bears noisy and half precision gradients."""
    learning_rate: Annotated[float, Field(ge=recipe.LEARNING_RATE_MIN, le=recipe.LEARNING_RATE_MAX)] = 1.0
    """Of Adam, in pixel values 0 to 255 a step; it falls by a tenth every 200 steps. L-BFGS has none."""
    averaging: Share = 0.0
    """Decay of the running mean of iterates that becomes the result; 0 takes the last iterate."""
    plateau: Share = 0.0
    """A scale ends early for a picture whose loss fell by less than this share over ten steps; 0 never ends early."""
    colors: recipe.Colors = "style"
    """`style` takes the style's colours, `match` recolours the style like each photo first, `luminance` paints only
    light and dark and keeps the photo's colours."""
    start: recipe.Start = "content"
    """What is painted over: the photo, noise, or a picture of its own (`spec.start`)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the starting noise; the same seed gives the same picture."""
    backbone: recipe.Backbone = "vgg16-hed"
    """Whose features are matched."""
    precision: recipe.Precision = "auto"
    """Arithmetic of the convolutions."""

    @model_validator(mode="after")
    def _meant(self) -> Self:
        try:
            self.to_recipe()
        except recipe_rules.RecipeInvalid as error:
            raise ValidationError.from_exception_data("recipe", [_line_error(f) for f in error.faults]) from error
        return self

    def to_recipe(self) -> recipe.Recipe:
        """The recipe with the preset's numbers filled in."""
        scales = [recipe.Scale(size_px=s.size, iterations=s.iterations) for s in self.scales or ()]
        own_size = "size" in self.model_fields_set or not scales
        return presets.recipe_for(
            preset=self.preset,
            size_px=self.size if own_size else scales[-1].size_px,
            scales=scales,
            refine=[_refinement(r) for r in self.refine],
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
            content_layers=self.content_layers,
            style_layers=self.style_layers,
            statistics=self.statistics,
            pooling=self.pooling,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            averaging=self.averaging,
            plateau=self.plateau,
            colors=self.colors,
            start=self.start,
            seed=self.seed,
            backbone=self.backbone,
            precision=self.precision,
        )


def _refinement(spec: RefinementSpec) -> recipe.Refinement:
    left, top, right, bottom = map(float, spec.box)
    return recipe.Refinement(box=(left, top, right, bottom), zoom=float(spec.zoom), iterations=spec.iterations)


def _line_error(fault: recipe_rules.Fault) -> InitErrorDetails:
    facts = {"reason": fault.message, "found": fault.found, "allowed": fault.allowed}
    return InitErrorDetails(type=PydanticCustomError("recipe", "{reason}", facts), loc=fault.path, input=fault.found)
