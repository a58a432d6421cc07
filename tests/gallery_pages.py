"""Made-up galleries of any size, with real pictures: many names for a few files, so that they are made in seconds."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image, ImageOps

from stylefleet import gallery
from stylefleet.gallery import GalleryPage, GalleryPicture, Look

SAMPLES = Path(__file__).parents[1] / "samples" / "photos"
DISTINCT = 40
FAILED_EVERY = 50
LOOKS = (
    Look(name="spring", styles=("starry_night.jpg", "the_scream.jpg"), settings=(("Content weight", "1000"),)),
    Look(name="winter", styles=("shipwreck.jpg",), settings=(("Content weight", "500"),)),
)


def made_up(folder: Path, count: int, **changes: object) -> Path:
    """A page of `count` pictures in two looks; each FAILED_EVERY-th has failed."""
    thumbnails = folder / "thumbnails"
    thumbnails.mkdir(parents=True)
    sizes = _distinct(thumbnails)
    pictures = []
    for number in range(count):
        name, look = f"shoes/summer/model-{number:05}.jpg", number % 2
        details = (("Time", "2.4 s"), ("Steps", "240"), ("Loss", "812.5"), ("Optimize", "2.1 s"), ("Encode", "0.1 s"))
        if number % FAILED_EVERY == 7:
            message = "The picture starts with b'GIF89a', which is none of the allowed formats."
            pictures.append(GalleryPicture(name=name, reason="undecodable", message=message, look=look))
            continue
        kind = number % len(sizes)
        paths = {}
        for side in ("before", "after"):
            paths[side] = f"thumbnails/{number:06}-{side}.webp"
            # A file of its own for the browser, though it is the same on the disk.
            os.link(thumbnails / f"{kind}-{side}.webp", folder / paths[side])
        width, height = sizes[kind]
        pictures.append(
            GalleryPicture(
                name=name,
                left=paths["before"],
                right=paths["after"],
                width_px=2 * width,
                height_px=2 * height,
                look=look,
                details=details,
            )
        )
    page = GalleryPage(
        title="Spring catalog",
        subtitle="Styles: starry_night.jpg, the_scream.jpg, shipwreck.jpg",
        facts=(("Restyled", f"{count:,} of {count:,}"), ("Time", "55 min"), ("A picture", "2.4 s")),
        looks=LOOKS,
        pictures=tuple(pictures),
        **changes,  # type: ignore[arg-type]
    )
    path = folder / "index.html"
    path.write_text(gallery.render(page), encoding="utf-8")
    return path


def _distinct(folder: Path) -> list[tuple[int, int]]:
    """Their sizes. The second version of each has the colours of a negative."""
    photos = sorted(SAMPLES.iterdir())
    sizes = []
    for kind in range(DISTINCT):
        with Image.open(photos[kind % len(photos)]) as opened:
            photo = opened.convert("RGB")
        photo.thumbnail((480, 480))
        cut = 4 * (kind // len(photos))
        photo = photo.crop((cut, cut // 2, photo.width - 2 * cut, photo.height))
        photo.save(folder / f"{kind}-before.webp", quality=80)
        ImageOps.solarize(photo, threshold=90).save(folder / f"{kind}-after.webp", quality=80)
        sizes.append(photo.size)
    return sizes
