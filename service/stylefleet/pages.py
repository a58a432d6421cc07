"""What our HTML pages have in common: no network, one look, everything escaped.

CSS and JavaScript stand in the page itself, and its Content-Security-Policy makes the browser hold it to exactly these.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

LOOK = "page.css"
"""Colours, type and boxes of every page."""


def render(template: str, *, style: str, script: str = "", images: str, **values: object) -> str:
    """A page as HTML, to be written as UTF-8. `style` and `script` are our own text, never a user's; `images` are the
    places that pictures may come from, as the policy names them."""
    rules = [
        "default-src 'none'",
        f"img-src {images}",
        # Exactly this style and this script: whatever else ends up in the page, by any mistake, is not run.
        f"style-src '{_hash(style)}'",
        *([f"script-src '{_hash(script)}'"] if script else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    # Markup: both are the package's own text and numbers, and escaping would break them.
    own = {"style": Markup(style), "script": Markup(script)}  # noqa: S704
    return environment().get_template(template).render(policy="; ".join(rules), **own, **values)


@cache
def environment() -> jinja2.Environment:
    """Templates of the package, compiled once; what they are given is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("stylefleet", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def text(name: str) -> str:
    """A file of the templates' folder as it is."""
    return (files("stylefleet") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
