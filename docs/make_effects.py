"""Makes docs/effects.md and its pictures from the samples and effects.yaml: `python docs/make_effects.py`, about a
quarter of an hour on 2 cores.

Every picture carries as its JPEG comment what made it. With names of effects, only their pictures are made anew.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import yaml
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydantic import BaseModel, ConfigDict

from stylefleet import engine as engines
from stylefleet import pictures
from stylefleet.engine import engine as loading
from stylefleet.engine import stages
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.backbone import MEAN_BGR, Preprocess
from stylefleet.engine.tiles import Tiler
from stylefleet.manifest import Spec

DOCS = Path(__file__).parent
SAMPLES = DOCS.parent / "samples"
SIZE_PX = 320
TILE_PX = 160
TILED_FROM_PIXELS = 2**15
"""Between the pixels of 160 and of 320 px."""
AMPLIFIED = 16


class Record(BaseModel):
    """What effects.yaml holds: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shot(Record):
    """One picture: its caption, and the fields of a manifest's `spec` that make it."""

    caption: str
    recipe: Mapping[str, Any] = {}
    styles: Sequence[Mapping[str, Any]] = ({"image": "s3://shop/styles/starry_night.jpg"},)
    protect: str | None = None
    start: str | None = None
    how: Literal["engine", "zero padding", "tiles", "difference"] = "engine"
    """What no field can ask for; a difference is that of the two pictures before it."""

    @property
    def spec(self) -> dict[str, Any]:
        """All that a manifest says of the picture, but where photos come from and results go."""
        named = {"protect": self.protect, "start": self.start}
        recipe = {"size": SIZE_PX, **self.recipe}
        return {"styles": list(self.styles), **{k: v for k, v in named.items() if v}, "recipe": recipe}


class Effect(Record):
    """A section of the page."""

    name: str
    title: str
    words: str
    photo: str = "pavilion.jpg"
    closeup: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom of what is shown enlarged below each picture, in shares of it."""
    shots: tuple[Shot, ...]

    @property
    def explained(self) -> Shot:
        """The shot whose spec stands on the page: the last one that a manifest can ask for."""
        return [shot for shot in self.shots if shot.how in ("engine", "tiles")][-1]

    @property
    def made_by(self) -> list[dict[str, Any]]:
        """What the picture of the row says of itself; a recipe's digest also tells the numbers of its preset."""
        return [
            {
                "photo": self.photo,
                **shot.model_dump(include={"caption", "how"}),
                "digest": checked(shot.spec).recipe.to_recipe().digest,
                **shot.spec,
            }
            for shot in self.shots
        ]


EFFECTS = tuple(Effect(**row) for row in yaml.safe_load((DOCS / "effects.yaml").read_text()))


def sample(uri: str) -> np.ndarray:
    """The photo or style of this name, uint8 [H, W, 3]."""
    name = uri.rsplit("/", 1)[-1]
    (found,) = SAMPLES.glob(f"*/{name}")
    return pictures.decode(found.read_bytes())


def mask(uri: str, width: int, height: int) -> np.ndarray:
    """Drawn masks, uint8 [H, W]: white where they select."""
    drawn = Image.new("L", (width, height))
    box = {"left": (-1, -1, 0.5, 2), "face": (0.53, 0.11, 0.785, 0.37)}[uri.strip("/").rsplit("/", 1)[-1]]
    pixels = [share * (width, height)[i % 2] for i, share in enumerate(box)]
    draw = ImageDraw.Draw(drawn)
    (draw.ellipse if "face" in uri else draw.rectangle)(pixels, fill=255)
    return np.asarray(drawn.filter(ImageFilter.GaussianBlur(width / 60)))


@functools.cache
def painted(photo: str, how: str, spec_json: str) -> Image.Image:
    """The picture of a spec; kept, since many rows begin with the default."""
    original, spec = sample(photo), checked(json.loads(spec_json))
    recipe = spec.recipe.to_recipe()
    width, height = pictures.result_size(original.shape[1], original.shape[0], recipe.size_px)
    contents = pictures.resize(original, width, height)[None]
    groups, masks = [[(sample(style.image), style.weight) for style in spec.styles]], None
    if spec.styles[0].mask:  # two regions: the mask, and the rest
        selected = mask(spec.styles[0].mask, width, height)
        groups, masks = [[style] for style in groups[0]], np.stack([selected, 255 - selected])[None]
    with prepared(how):
        engine = engines.load_engine(recipe)
        batch = engines.Batch(
            contents=contents,
            masks=masks,
            protect=mask(spec.protect, width, height)[None] if spec.protect else None,
            starts=pictures.resize(sample(spec.start), width, height)[None] if spec.start else None,
            details=tuple(pictures.detail(original, r, width, height)[None] for r in recipe.refine),
        )
        result = engines.run(engine, batch, engines.looks_for(engine, groups, recipe, contents), recipe)
    return Image.fromarray(result.pixels[0])


def checked(spec: Mapping[str, Any]) -> Spec:
    """The same as the manifest's record. Where photos come from and results go does not matter here."""
    places = {"content": {"prefix": "s3://shop/photos/"}, "output": {"prefix": "s3://shop/restyled/"}}
    return Spec.model_validate({**places, **spec})


def prepared(how: str) -> AbstractContextManager[object]:
    """The engine as it is, or changed in a way that no field can ask for."""
    changed = ExitStack()
    if how == "zero padding":
        changed.enter_context(mock.patch.object(Preprocess, "call", with_zeros_around))
    if how == "tiles":
        changed.enter_context(mock.patch.object(loading, "Tiler", functools.partial(Tiler, tile_px=TILE_PX)))
        changed.enter_context(mock.patch.object(stages, "TILED_FROM_PIXELS", TILED_FROM_PIXELS))
    return changed


def with_zeros_around(_: Preprocess, pixels: tf.Tensor) -> tf.Tensor:
    """Instead of `Preprocess.call`: zeros around the picture, as a convolution with padding `same` takes them."""
    bgr = tf.reverse(pixels, axis=[-1]) - tf.constant(MEAN_BGR, pixels.dtype)
    return tf.pad(bgr, [[0, 0], [1, 1], [1, 1], [0, 0]])


def row(effect: Effect) -> Image.Image:
    """Pictures side by side, with their captions and what is enlarged below."""
    images: list[Image.Image] = []
    for shot in effect.shots:
        if shot.how == "difference":
            images.append(difference(*images[-2:]))
        else:
            images.append(painted(effect.photo, shot.how, json.dumps(shot.spec)))
    gap, line, (width, height) = 8, 26, images[0].size
    parts = [enlarged(image, effect.closeup) for image in images] if effect.closeup else []
    below = parts[0].height + gap // 2 if parts else 0
    sheet = Image.new("RGB", (len(images) * (width + gap) - gap, height + below + line), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for column, (shot, image) in enumerate(zip(effect.shots, images, strict=True)):
        x = column * (width + gap)
        sheet.paste(image, (x, 0))
        if parts:
            sheet.paste(parts[column], (x, height + gap // 2))
        draw.text((x + 2, height + below + 3), shot.caption, "black", font=font)
    return sheet


def difference(one: Image.Image, other: Image.Image) -> Image.Image:
    """Of two pictures, AMPLIFIED times, on black."""
    apart = np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16))
    return Image.fromarray(np.clip(AMPLIFIED * apart, 0, 255).astype(np.uint8))


def enlarged(image: Image.Image, box: tuple[float, ...]) -> Image.Image:
    """The box of the picture, in shares of it, as wide as the picture."""
    left, top, right, bottom = (round(share * image.size[i % 2]) for i, share in enumerate(box))
    size = image.width, round(image.width * (bottom - top) / (right - left))
    return image.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom))


def section(effect: Effect) -> str:
    """An effect on the page."""
    shot = effect.explained
    spec = yaml.safe_dump({"spec": shot.spec}, sort_keys=False, default_flow_style=None, width=100)
    return (
        f"## {effect.title}\n\n{effect.words}\n\n"
        f"![{', '.join(shot.caption for shot in effect.shots)}](effects/{effect.name}.jpg)\n\n"
        f'The picture "{shot.caption}":\n\n```yaml\n{spec}```\n'
    )


HEAD = f"""# Effects

What each field of a recipe does. The pictures are made by `python docs/make_effects.py` from photos and paintings in
`samples/`, {SIZE_PX} px, preset `balanced` and seed 0 where nothing else is said. Below a row stands what a manifest's
`spec` says for one of its pictures; small differences are shown enlarged. The recipe of a manifest can be tried on a
single picture with `stylefleet stylize ... --manifest FILE`.
"""


def page() -> str:
    """The text of docs/effects.md."""
    return "\n".join([HEAD, *(section(effect) for effect in EFFECTS)])


def main(names: Sequence[str]) -> None:
    """Makes the page, and the pictures of the effects with these names, or of all."""
    folder = DOCS / "effects"
    folder.mkdir(exist_ok=True)
    for effect in (e for e in EFFECTS if not names or e.name in names):
        made_by = json.dumps(effect.made_by, ensure_ascii=False).encode()
        row(effect).save(folder / f"{effect.name}.jpg", quality=88, comment=made_by)
        print(effect.name, flush=True)
    (DOCS / "effects.md").write_text(page())


if __name__ == "__main__":
    main(sys.argv[1:])
