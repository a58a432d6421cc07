"""Makes docs/effects.md and its pictures from the samples: `python docs/make_effects.py`, about ten minutes on 2 cores.

Every picture is made by the engine; the last one of a row with exactly the fields that stand above it. With names of
effects, only their pictures are made anew.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from stylefleet import engine as engines
from stylefleet import pictures
from stylefleet.recipe_spec import RecipeSpec

DOCS = Path(__file__).parent
SAMPLES = DOCS.parent / "samples"
SIZE_PX = 320
PAVILION, FACE, CAT = "pavilion.jpg", "astronaut.jpg", "кошка 猫.jpg"
NIGHT, SCREAM = "starry_night.jpg", "the_scream.jpg"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture: what is under it, and how it is made."""

    caption: str
    recipe: Mapping[str, object] = field(default_factory=dict)
    """Fields of `spec.recipe`; the size is SIZE_PX unless they say otherwise."""
    photo: str = PAVILION
    styles: tuple[tuple[str, float], ...] = ((NIGHT, 1.0),)
    regions: tuple[tuple[str, str], ...] = ()
    """Style and name of its mask, instead of `styles`."""
    protect: str = ""
    """Name of the mask of what is left alone."""
    start: str = ""
    """Photo or style that is painted over."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A section of the page."""

    name: str
    title: str
    words: str
    fields: Mapping[str, object]
    """What a manifest says for the last picture of the row."""
    shots: tuple[Shot, ...]


def ellipse(width: int, height: int, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """A soft white ellipse on black; the box in shares of the picture."""
    mask = Image.new("L", (width, height))
    box = left * width, top * height, right * width, bottom * height
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(width / 60))


def mask(name: str, width: int, height: int) -> np.ndarray:
    """Drawn masks, uint8 [H, W]: white where they select."""
    if name == "face":
        return np.asarray(ellipse(width, height, 0.50, 0.06, 0.86, 0.40))
    left = np.clip((width * 0.5 - np.arange(width)) / (width * 0.06) + 0.5, 0, 1)
    half = np.rint(255 * np.broadcast_to(left, (height, width))).astype(np.uint8)
    return half if name == "left" else 255 - half


CLOSE = {"box": [0.5, 0.05, 0.85, 0.4], "zoom": 2.0, "iterations": 40}
EFFECTS = (
    Effect(
        name="weights",
        title="More content, more style",
        words="`contentWeight` holds the photo, `styleWeight` paints; only their balance counts beside `tvWeight`. The "
        "same numbers give the same look at every size, backbone and precision.",
        fields={"recipe": {"contentWeight": 250}},
        shots=tuple(Shot(caption=f"contentWeight {w:g}", recipe={"contentWeight": w}) for w in (4000, 1000, 250)),
    ),
    Effect(
        name="smoothing",
        title="Smoothing",
        words="`tvWeight` is the strength of total variation: 0 leaves the grain of single pixels, more makes flat "
        "areas flat.",
        fields={"recipe": {"tvWeight": 20}},
        shots=tuple(Shot(caption=f"tvWeight {w:g}", recipe={"tvWeight": w}) for w in (0, 1, 20)),
    ),
    Effect(
        name="presets",
        title="Presets",
        words="`draft` is a quick look, `balanced` the default, `fine` takes two to three times as many steps, "
        "`impressionist` has half the content weight, `portrait` holds faces by a shallower content layer. "
        "Whatever else a recipe says overrules its preset.",
        fields={"recipe": {"preset": "portrait"}},
        shots=tuple(
            Shot(caption=p, photo=FACE, recipe={"preset": p})
            for p in ("draft", "balanced", "fine", "impressionist", "portrait")
        ),
    ),
    Effect(
        name="style-layers",
        title="Which style layers",
        words="Shallow layers hold colour and grain, deep ones large shapes. The default is the first convolution of "
        "each block, 0.2 each.",
        fields={"recipe": {"styleLayers": {"block4_conv1": 0.5, "block5_conv1": 0.5}}},
        shots=(
            Shot(caption="block1 and 2", recipe={"styleLayers": {"block1_conv1": 0.5, "block2_conv1": 0.5}}),
            Shot(caption="the default"),
            Shot(caption="block4 and 5", recipe={"styleLayers": {"block4_conv1": 0.5, "block5_conv1": 0.5}}),
        ),
    ),
    Effect(
        name="content-layers",
        title="Which content layers",
        words="The deeper the layer, the freer the strokes inside the shapes that it sees.",
        fields={"recipe": {"contentLayers": {"block2_conv2": 1}}},
        shots=(
            Shot(caption="block4_conv2, the default"),
            Shot(caption="block2_conv2", recipe={"contentLayers": {"block2_conv2": 1.0}}),
        ),
    ),
    Effect(
        name="statistics",
        title="Means beside Gram matrices, average pooling",
        words="`statistics: gram+mean` also matches the mean of every channel; `pooling: average` gives softer strokes "
        "than the maximum that the network was trained with.",
        fields={"recipe": {"pooling": "average"}},
        shots=(
            Shot(caption="gram, max"),
            Shot(caption="gram+mean", recipe={"statistics": "gram+mean"}),
            Shot(caption="average pooling", recipe={"pooling": "average"}),
        ),
    ),
    Effect(
        name="blend",
        title="Several styles",
        words="Styles are blended by the weighted mean of their statistics, into one look.",
        fields={
            "styles": [
                {"image": "s3://shop/night.jpg", "weight": 0.5},
                {"image": "s3://shop/scream.jpg", "weight": 0.5},
            ]
        },
        shots=(
            Shot(caption="Starry Night", photo=CAT),
            Shot(caption="The Scream", photo=CAT, styles=((SCREAM, 1.0),)),
            Shot(caption="half and half", photo=CAT, styles=((NIGHT, 0.5), (SCREAM, 0.5))),
        ),
    ),
    Effect(
        name="regions",
        title="A style for each region",
        words="A style with a `mask` (a folder with a mask for each picture, or one for all) applies where the mask is "
        "white, and what no style covers is left alone; soft edges are crossed gradually. Masks are narrowed by what "
        "each layer sees, so that no style pulls at pixels of its neighbours.",
        fields={
            "styles": [
                {"image": "s3://shop/night.jpg", "mask": "s3://shop/masks/left/"},
                {"image": "s3://shop/scream.jpg"},
            ]
        },
        shots=(Shot(caption="left: Starry Night, right: The Scream", regions=((NIGHT, "left"), (SCREAM, "right"))),),
    ),
    Effect(
        name="protect",
        title="Parts that are left alone",
        words="`protect` names masks of faces, buildings, products: what is white stays as it is, and strokes connect "
        "to it.",
        fields={"protect": "s3://shop/masks/faces/"},
        shots=(Shot(caption="painted", photo=FACE), Shot(caption="the face protected", photo=FACE, protect="face")),
    ),
    Effect(
        name="refine",
        title="A box worked out finer",
        words="`refine` optimizes a box again at a higher resolution, from the original picture, and blends it back "
        "without a seam; strokes become finer there.",
        fields={"recipe": {"refine": [CLOSE]}},
        shots=(
            Shot(caption="as usual", photo=FACE),
            Shot(caption="face, twice as fine", photo=FACE, recipe={"refine": [CLOSE]}),
        ),
    ),
    Effect(
        name="colors",
        title="Whose colours",
        words="`style` takes the style's colours, `match` recolours the style like the photo first, `luminance` paints "
        "light and dark only and keeps every colour of the photo.",
        fields={"recipe": {"colors": "luminance"}},
        shots=tuple(Shot(caption=c, recipe={"colors": c}) for c in ("style", "match", "luminance")),
    ),
    Effect(
        name="optimizer",
        title="Optimizer, averaging",
        words="`lbfgs` needs the fewest steps. `adam` takes steps of `learningRate` pixel values, less by a tenth "
        "every 200 steps; `averaging` makes the result the running mean of its iterates, which calms grain.",
        fields={"recipe": {"optimizer": "adam", "learningRate": 2, "averaging": 0.9}},
        shots=(
            Shot(caption="lbfgs"),
            Shot(caption="adam", recipe={"optimizer": "adam", "learningRate": 2.0}),
            Shot(caption="adam, averaged", recipe={"optimizer": "adam", "learningRate": 2.0, "averaging": 0.9}),
        ),
    ),
    Effect(
        name="start",
        title="What is painted over",
        words="The photo, `noise`, or a picture of its own (`spec.start`): here the style itself. `seed` gives another "
        "noise.",
        fields={"recipe": {"start": "picture"}, "start": "s3://shop/starts/"},
        shots=(
            Shot(caption="content"),
            Shot(caption="noise", recipe={"start": "noise"}),
            Shot(caption="a picture", recipe={"start": "picture"}, start=SCREAM),
        ),
    ),
    Effect(
        name="scales",
        title="Schedules, early end",
        words="`scales` says which sizes are optimized and how long; what L-BFGS or Adam learned goes along from "
        "size to size. One size alone, as in the first papers, makes small strokes and takes longer. With `plateau` a "
        "size ends early for a picture whose loss has stopped falling.",
        fields={
            "recipe": {"scales": [{"size": 80, "iterations": 150}, {"size": 320, "iterations": 40}], "plateau": 0.01}
        },
        shots=(
            Shot(caption="320 px alone, 60 steps", recipe={"scales": [{"size": 320, "iterations": 60}]}),
            Shot(caption="the preset's scales"),
            Shot(
                caption="from 80 px, early end",
                recipe={"scales": [{"size": 80, "iterations": 150}, {"size": 320, "iterations": 40}], "plateau": 0.01},
            ),
        ),
    ),
    Effect(
        name="precision",
        title="Precision",
        words="`auto` takes bfloat16 or float16 where the device computes it fast, and says why in every receipt. "
        "Strokes lie elsewhere, as with another seed; the look is the same.",
        fields={"recipe": {"precision": "float32"}},
        shots=tuple(Shot(caption=p, recipe={"precision": p}) for p in ("mixed_bfloat16", "float32")),
    ),
)


def photo(name: str) -> np.ndarray:
    folder = SAMPLES / ("photos" if (SAMPLES / "photos" / name).exists() else "styles")
    return pictures.decode((folder / name).read_bytes())


def painted(shot: Shot) -> Image.Image:
    """The shot's picture."""
    recipe = RecipeSpec.model_validate({"size": SIZE_PX, **shot.recipe}).to_recipe()
    original = photo(shot.photo)
    width, height = pictures.result_size(original.shape[1], original.shape[0], recipe.size_px)
    contents = pictures.resize(original, width, height)[None]
    engine = engines.load_engine(recipe)
    groups = [[(photo(s), 1.0)] for s, _ in shot.regions] or [[(photo(s), w) for s, w in shot.styles]]
    batch = engines.Batch(
        contents=contents,
        masks=np.stack([mask(m, width, height) for _, m in shot.regions])[None] if shot.regions else None,
        protect=mask(shot.protect, width, height)[None] if shot.protect else None,
        starts=pictures.resize(photo(shot.start), width, height)[None] if shot.start else None,
        details=tuple(pictures.detail(original, r, width, height)[None] for r in recipe.refine),
    )
    result = engines.run(engine, batch, engines.looks_for(engine, groups, recipe, contents), recipe)
    return Image.fromarray(result.pixels[0])


def row(shots: tuple[tuple[str, Image.Image], ...]) -> Image.Image:
    """Pictures side by side, at most three in a line, with their captions below."""
    gap, line, columns = 8, 26, min(3, len(shots))
    width, height = (max(image.size[axis] for _, image in shots) for axis in (0, 1))
    rows = math.ceil(len(shots) / columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + line)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for index, (caption, image) in enumerate(shots):
        x, y = index % columns * (width + gap), index // columns * (height + line)
        sheet.paste(image, (x, y))
        draw.text((x + 2, y + height + 3), caption, "black", font=font)
    return sheet


def section(effect: Effect) -> str:
    spec = yaml.safe_dump({"spec": dict(effect.fields)}, sort_keys=False, default_flow_style=None, width=100)
    return (
        f"## {effect.title}\n\n{effect.words}\n\n```yaml\n{spec}```\n\n"
        f"![{', '.join(shot.caption for shot in effect.shots)}](effects/{effect.name}.jpg)\n"
    )


HEAD = f"""# Effects

What each field of a recipe does. The pictures are made by `python docs/make_effects.py` from the photos and paintings
in `samples/`, {SIZE_PX} px, preset `balanced` and seed 0 where nothing else is said, with the backbone `vgg16-hed`. The
fields go into a manifest's `spec`, and give the last picture of their row; a manifest's recipe can be tried on a single
picture with `stylefleet stylize ... --manifest FILE`.

The backbone `vgg19-imagenet` is chosen by `recipe.backbone` and needs a weights file of yours (see the README), so it
is not shown here. Borders need no field: the first layer sees the border pixels repeated instead of a black frame.
Pictures of more than 1.8 megapixels go through the network in tiles, with the statistics of the whole picture, so there
are no seams and no field for it.
"""


def page() -> str:
    """The text of docs/effects.md."""
    return "\n".join([HEAD, *(section(effect) for effect in EFFECTS)])


def main(names: list[str]) -> None:
    folder = DOCS / "effects"
    folder.mkdir(exist_ok=True)
    for effect in (e for e in EFFECTS if not names or e.name in names):
        row(tuple((shot.caption, painted(shot)) for shot in effect.shots)).save(
            folder / f"{effect.name}.jpg", quality=88
        )
        print(effect.name, flush=True)
    (DOCS / "effects.md").write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
