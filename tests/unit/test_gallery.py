"""The gallery page as text: nothing a user names can break out of it, and it asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from stylefleet.gallery import GalleryPage, GalleryPicture, Look, render

HOSTILE = "\"><script>alert('1')</script><img src=x onerror=alert(2)> & {{ 7 * 7 }}"


def picture(name: str = "a.jpg", *, path: str = "a.jpg", details: tuple[tuple[str, str], ...] = ()) -> GalleryPicture:
    return GalleryPicture(
        name=name, left=f"before/{path}", right=f"after/{path}", width_px=300, height_px=200, details=details
    )


class Parsed(HTMLParser):
    """The tags with their attributes, the text, and the text of style and script, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.raw:
            self.raw[self._inside].append(data)
        else:
            self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [str(attrs[name]) for t, attrs in self.tags if t == tag and name in attrs]


def everything(text: str) -> GalleryPage:
    """A page that shows `text` wherever a text can be given."""
    return GalleryPage(
        title=text,
        subtitle=text,
        facts=((text, text),),
        looks=(Look(name=text, styles=(text, f"{text}2"), settings=((text, text),)),),
        pictures=(
            picture(text, path=text.replace("/", ""), details=((text, text),)),
            GalleryPicture(name=text, reason=text, message=text),
        ),
        sides=(text, text),
        note=text,
    )


def data_of(parsed: Parsed) -> dict[str, Any]:
    """What the page's script is told."""
    (text, _) = parsed.raw["script"]
    return dict(json.loads(text))


def test_hostile_names_are_shown_as_they_are_and_add_no_tag_and_no_attribute() -> None:
    hostile, harmless = Parsed(render(everything(HOSTILE))), Parsed(render(everything("x")))
    assert [(tag, set(attrs)) for tag, attrs in hostile.tags] == [(tag, set(attrs)) for tag, attrs in harmless.tags]
    assert hostile.raw["style"] == harmless.raw["style"]
    assert hostile.raw["script"][1] == harmless.raw["script"][1]
    # Title, heading, subtitle, fact (2), styles (2), sides (3, 2 on cards, 2 in the view), note.
    assert hostile.text.count(HOSTILE) == 14


def test_hostile_names_cannot_end_the_data_of_the_script_and_come_out_of_it_as_they_were() -> None:
    text = HOSTILE + "</script><!--<script>\u2028 \ud800 кошка"
    page = GalleryPage(title="t", subtitle="", pictures=(GalleryPicture(name=text, reason=text, message=text),))
    html = render(page)
    assert html.count("</script>") == 2
    (told,) = data_of(Parsed(html))["pictures"]
    assert told == {"name": text, "reason": text, "message": text}


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("a b.jpg", "a%20b.jpg"),
        ("a#1.jpg", "a%231.jpg"),
        ("what?.jpg", "what%3F.jpg"),
        ("100%20.jpg", "100%2520.jpg"),
        ("кошка 猫.jpg", "%D0%BA%D0%BE%D1%88%D0%BA%D0%B0%20%E7%8C%AB.jpg"),
        ("a\\b&\"'<>.jpg", "a%5Cb%26%22%27%3C%3E.jpg"),
        ("deep/er/a.jpg", "deep/er/a.jpg"),
    ],
)
def test_paths_become_percent_encoded_relative_urls(path: str, url: str) -> None:
    html = render(GalleryPage(title="t", subtitle="", pictures=(picture(path=path),)))
    (told,) = data_of(Parsed(html))["pictures"]
    assert (told["left"], told["right"]) == (f"before/{url}", f"after/{url}")


def test_a_colon_in_a_path_does_not_make_it_a_url_of_another_scheme() -> None:
    colon = GalleryPicture(name="a", left="javascript:1.jpg", right="https://h/a.jpg", width_px=1, height_px=1)
    html = render(GalleryPage(title="t", subtitle="", pictures=(colon,)))
    (told,) = data_of(Parsed(html))["pictures"]
    assert (told["left"], told["right"]) == ("javascript%3A1.jpg", "https%3A//h/a.jpg")


@pytest.mark.parametrize("path", ["", "/etc/a.jpg", "//host/a.jpg"])
def test_a_path_that_is_not_relative_to_the_page_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path from the page's folder"):
        GalleryPicture(name="a", left="a.jpg", right=path, width_px=1, height_px=1)
    if path:
        with pytest.raises(ValueError, match="not a path from the page's folder"):
            GalleryPicture(name="a", left="a.jpg", right="b.jpg", full_left=path, width_px=1, height_px=1)


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="0 x 5 pixels"):
        GalleryPicture(name="a", left="a.jpg", right="b.jpg", width_px=0, height_px=5)


def test_the_page_names_no_address_outside_its_folder() -> None:
    html = render(everything("x"))
    # A host name has a dot, which the icon's base64 has not.
    assert re.findall(r"https?:|//[\w-]+\.\w", html) == []
    parsed = Parsed(html)
    for name in ("src", "href", "srcset", "action"):
        for tag, attrs in parsed.tags:
            value = str(attrs.get(name, ""))
            assert value.startswith(("before/", "after/", "data:image/png;")) or value == "", (tag, value)
    assert "url(" not in html
    assert "@import" not in html


def test_the_policy_allows_exactly_the_pages_own_style_and_script() -> None:
    parsed = Parsed(render(everything(HOSTILE)))
    policies = [
        str(attrs["content"]) for tag, attrs in parsed.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    rules = dict(rule.split(" ", 1) for rule in policies[0].split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policies[0]
    for kind in ("style", "script"):
        # The first script is data, which no browser runs.
        text = parsed.raw[kind][-1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_no_tag_carries_a_style_or_a_handler_which_the_policy_would_refuse() -> None:
    for tag, attrs in Parsed(render(everything("x"))).tags:
        assert not [name for name in attrs if name == "style" or name.startswith("on")], tag


def test_a_page_without_pictures_says_so() -> None:
    parsed = Parsed(render(GalleryPage(title="t", subtitle="")))
    assert "0 pictures" in parsed.text
    assert "There is no picture to show." in parsed.text
    assert parsed.attributes("input", "id") == []


def test_what_can_be_chosen_is_only_what_tells_pictures_apart() -> None:
    look = Look(name="a", styles=("waves.jpg",))
    alike = Parsed(render(GalleryPage(title="t", subtitle="", looks=(look,), pictures=(picture(),))))
    assert alike.attributes("select", "id") == []
    assert alike.attributes("input", "value") == ["50", "50"], "the two sliders, and no choice of outcomes"
    mixed = Parsed(
        render(
            GalleryPage(
                title="t",
                subtitle="",
                looks=(look, Look(name="b", styles=("scream.jpg", "waves.jpg"))),
                pictures=(picture(), GalleryPicture(name="f", reason="undecodable", message="m", look=1)),
            )
        )
    )
    assert mixed.attributes("option", "value") == ["", "0", "1", "scream.jpg", "waves.jpg"]
    assert mixed.attributes("input", "value") == ["", "done", "failed", "50", "50"]


def test_the_script_is_told_all_of_a_picture_and_its_look() -> None:
    page = GalleryPage(
        title="Autumn",
        subtitle="After Van Gogh",
        facts=(("Pictures per hour", "214"),),
        looks=(Look(name="autumn", styles=("waves.jpg",), settings=(("Seed", "7"),)),),
        pictures=(picture(details=(("Loss", "1.8"),)),),
    )
    parsed = Parsed(render(page))
    text = re.sub(r"\s+", " ", parsed.text)
    for expected in ("Autumn", "After Van Gogh", "Pictures per hour214", "1 picture "):
        assert expected in text
    data = data_of(parsed)
    assert data["looks"] == [{"name": "autumn", "styles": ["waves.jpg"], "settings": [["Seed", "7"]]}]
    assert data["pictures"] == [
        {
            "name": "a.jpg",
            "left": "before/a.jpg",
            "right": "after/a.jpg",
            "width": 300,
            "height": 200,
            "details": [["Loss", "1.8"]],
        }
    ]
