"""A run's pictures as one static HTML page: before and after, what it took, what failed.

The page lies beside its image files and needs nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from stylefleet import pages


@dataclass(frozen=True, kw_only=True)
class GalleryPicture:
    """One restyled picture."""

    name: str
    """What the reader knows it by, such as its path in the catalog."""
    before: str
    """Path of the content picture from the page's folder, with `/`, not percent-encoded."""
    after: str
    """Path of the result, likewise."""
    width_px: int
    """Of the result; the page is laid out by it before any image is loaded."""
    height_px: int
    """Of the result."""
    details: tuple[tuple[str, str], ...] = ()
    """Label and value of whatever else is worth telling; shown in the full-size view."""

    def __post_init__(self) -> None:
        if self.width_px <= 0 or self.height_px <= 0:
            raise ValueError(f"{self.name}: a picture of {self.width_px} x {self.height_px} pixels cannot be shown")
        for path in (self.before, self.after):
            # `//host/a.jpg` and `/a.jpg` would be looked up from the disk's root or on another host.
            if not path or path.startswith("/"):
                raise ValueError(f"{self.name}: {path!r} is not a path from the page's folder")


@dataclass(frozen=True, kw_only=True)
class GalleryFailure:
    """One picture that was not restyled."""

    name: str
    """What the reader knows it by, such as its path in the catalog."""
    reason: str
    """One short word, such as `undecodable`."""
    message: str
    """The sentence that says what is wrong and what would help."""


@dataclass(frozen=True, kw_only=True)
class GalleryPage:
    """All that a page shows."""

    title: str
    """The heading and the browser tab's name."""
    subtitle: str
    """One line below the heading; may be empty."""
    facts: tuple[tuple[str, str], ...] = ()
    """Label and value of the run's key facts, shown as tiles."""
    pictures: tuple[GalleryPicture, ...] = ()
    """The restyled pictures in the order of the page."""
    failures: tuple[GalleryFailure, ...] = ()
    """The pictures that failed, listed below the others."""


_RATIO_MIN, _RATIO_MAX = 0.45, 3.2
"""Shapes beyond these are cropped in the overview, where they would be a sliver or fill a row; never full size."""


def render(page: GalleryPage) -> str:
    """The page as HTML, to be written as UTF-8."""
    return pages.render(
        "gallery.html.j2",
        style=pages.text(pages.LOOK) + pages.text("gallery.css") + _layout(page.pictures),
        script=pages.text("gallery.js"),
        # Opened from a disk, a page has no origin that 'self' must match in every browser: hence `file:`. `data:`
        # is the icon, without which browsers ask the server for one.
        images="'self' file: data:",
        page=page,
        relative_url=_relative_url,
    )


def _relative_url(path: str) -> str:
    """`path` for a src attribute; `:` is encoded too, or `a:b.jpg` would be read as a URL of the scheme `a`."""
    return quote(path, safe="/")


def _layout(pictures: tuple[GalleryPicture, ...]) -> str:
    """The shape of each picture, as rules: style attributes would need a policy that allows any inline style."""
    return "".join(
        f"#p{i}{{--ratio:{min(max(p.width_px / p.height_px, _RATIO_MIN), _RATIO_MAX):.4f}}}\n"
        for i, p in enumerate(pictures, start=1)
    )
