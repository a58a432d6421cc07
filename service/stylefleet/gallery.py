"""Pictures as one static HTML page: two of each beside or over each other, what it took, what failed.

The page lies beside its image files and needs nothing else. Its script lays out only what is on the screen, so that
thousands of pictures scroll as ten do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from stylefleet import pages


@dataclass(frozen=True, kw_only=True)
class Look:
    """What pictures of one run have in common."""

    name: str
    """What the reader knows it by, such as the run's name."""
    styles: tuple[str, ...] = ()
    """The styles that are in it; the reader can choose among them."""
    settings: tuple[tuple[str, str], ...] = ()
    """Label and value of the recipe, shown with each picture."""


@dataclass(frozen=True, kw_only=True)
class GalleryPicture:
    """One picture: two versions of it, or why there are none."""

    name: str
    """What the reader knows it by, such as its path in the catalog."""
    left: str = ""
    """Path of the first version, such as the photo, from the page's folder, with `/`, not percent-encoded; empty where
    `reason` says why."""
    right: str = ""
    """Of the second version, such as the result, likewise."""
    full_left: str = ""
    """Of the first version at its full size; empty: `left` is all there is."""
    full_right: str = ""
    """Of the second version, likewise."""
    width_px: int = 0
    """Of the second version at its full size; the page is laid out by it before any image is loaded."""
    height_px: int = 0
    """Likewise."""
    reason: str = ""
    """One short word, such as `undecodable`, where there is nothing to compare; else empty."""
    message: str = ""
    """The sentence that says what is wrong and what would help."""
    look: int = 0
    """Which of the page's looks it has."""
    details: tuple[tuple[str, str], ...] = ()
    """Label and value of whatever else is worth telling; shown in the full-size view."""

    def __post_init__(self) -> None:
        if self.reason:
            return
        if self.width_px <= 0 or self.height_px <= 0:
            raise ValueError(f"{self.name}: a picture of {self.width_px} x {self.height_px} pixels cannot be shown")
        for path in (self.left, self.right, self.full_left or self.left, self.full_right or self.right):
            # `//host/a.jpg` and `/a.jpg` would be looked up from the disk's root or on another host.
            if not path or path.startswith("/"):
                raise ValueError(f"{self.name}: {path!r} is not a path from the page's folder")


@dataclass(frozen=True, kw_only=True)
class GalleryPage:
    """All that a page shows."""

    title: str
    """The heading and the browser tab's name."""
    subtitle: str
    """One line below the heading; may be empty."""
    facts: tuple[tuple[str, str], ...] = ()
    """Label and value of the run's key facts, shown as tiles."""
    looks: tuple[Look, ...] = (Look(name=""),)
    """What the pictures' `look` counts."""
    pictures: tuple[GalleryPicture, ...] = ()
    """In the order of the page."""
    sides: tuple[str, str] = ("Before", "After")
    """What the two versions are called."""
    side_by_side: bool = False
    """Whether the full-size view begins with the versions beside, not over, each other."""
    note: str = ""
    """A sentence at the foot of the page."""


def render(page: GalleryPage) -> str:
    """The page as HTML, to be written as UTF-8."""
    return pages.render(
        "gallery.html.j2",
        style=pages.text(pages.LOOK) + pages.text("gallery.css"),
        script=pages.text("gallery_grid.js") + pages.text("gallery_view.js") + pages.text("gallery.js"),
        # Opened from a disk, a page has no origin that 'self' must match in every browser: hence `file:`. `data:`
        # is the icon, without which browsers ask the server for one.
        images="'self' file: data:",
        page=page,
        styles=sorted({style for look in page.looks for style in look.styles}),
        failed=sum(1 for picture in page.pictures if picture.reason),
        data=_json(
            {
                "sides": page.sides,
                "sideBySide": page.side_by_side,
                "looks": [{"name": k.name, "styles": k.styles, "settings": k.settings} for k in page.looks],
                "pictures": [_picture(one) for one in page.pictures],
            }
        ),
    )


def _picture(one: GalleryPicture) -> dict[str, Any]:
    """What the script is told; what is empty is left out."""
    told = {
        "name": one.name,
        "look": one.look,
        "left": _relative_url(one.left),
        "right": _relative_url(one.right),
        "fullLeft": _relative_url(one.full_left),
        "fullRight": _relative_url(one.full_right),
        "width": one.width_px,
        "height": one.height_px,
        "reason": one.reason,
        "message": one.message,
        "details": one.details,
    }
    return {key: value for key, value in told.items() if value}


def _json(document: dict[str, Any]) -> Markup:
    """JSON in ASCII that no text in it can end or leave: inside a script element only `<` is special, and it stands in
    strings only, which have another way to write it. The others are escaped for readers that are less exact."""
    text = json.dumps(document, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704


def _relative_url(path: str) -> str:
    """`path` for a src attribute; `:` is encoded too, or `a:b.jpg` would be read as a URL of the scheme `a`."""
    return quote(path, safe="/")
