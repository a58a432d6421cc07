"""The gallery page as text: nothing a user names can break out of it, and it asks for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from stylefleet.gallery import GalleryFailure, GalleryPage, GalleryPicture, render

HOSTILE = "\"><script>alert('1')</script><img src=x onerror=alert(2)> & {{ 7 * 7 }}"


def picture(name: str = "a.jpg", *, path: str = "a.jpg", details: tuple[tuple[str, str], ...] = ()) -> GalleryPicture:
    return GalleryPicture(
        name=name, before=f"before/{path}", after=f"after/{path}", width_px=300, height_px=200, details=details
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
        pictures=(picture(text, path=text.replace("/", ""), details=((text, text),)),),
        failures=(GalleryFailure(name=text, reason=text, message=text),),
    )


def test_hostile_names_are_shown_as_they_are_and_add_no_tag_and_no_attribute() -> None:
    hostile, harmless = Parsed(render(everything(HOSTILE))), Parsed(render(everything("x")))
    assert [(tag, set(attrs)) for tag, attrs in hostile.tags] == [(tag, set(attrs)) for tag, attrs in harmless.tags]
    assert hostile.raw == harmless.raw
    # Title, heading, subtitle, fact (2), the picture's name, its detail (2), failure (3).
    assert hostile.text.count(HOSTILE) == 11


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
    assert Parsed(html).attributes("img", "src") == [f"before/{url}", f"after/{url}"]


def test_a_colon_in_a_path_does_not_make_it_a_url_of_another_scheme() -> None:
    colon = GalleryPicture(name="a", before="javascript:1.jpg", after="https://h/a.jpg", width_px=1, height_px=1)
    html = render(GalleryPage(title="t", subtitle="", pictures=(colon,)))
    assert Parsed(html).attributes("img", "src") == ["javascript%3A1.jpg", "https%3A//h/a.jpg"]


@pytest.mark.parametrize("path", ["", "/etc/a.jpg", "//host/a.jpg"])
def test_a_path_that_is_not_relative_to_the_page_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a path from the page's folder"):
        GalleryPicture(name="a", before="a.jpg", after=path, width_px=1, height_px=1)


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="0 x 5 pixels"):
        GalleryPicture(name="a", before="a.jpg", after="b.jpg", width_px=0, height_px=5)


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
        (text,) = parsed.raw[kind]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"


def test_no_tag_carries_a_style_or_a_handler_which_the_policy_would_refuse() -> None:
    for tag, attrs in Parsed(render(everything("x"))).tags:
        assert not [name for name in attrs if name == "style" or name.startswith("on")], tag


def test_a_page_without_pictures_says_so_and_has_no_picture() -> None:
    html = render(GalleryPage(title="t", subtitle=""))
    parsed = Parsed(html)
    assert "0 pictures" in parsed.text
    assert "No picture was restyled." in parsed.text
    assert parsed.attributes("img", "src") == []
    assert "failed" not in parsed.text


def test_every_failure_is_listed_with_its_reason_and_message() -> None:
    failures = tuple(GalleryFailure(name=f"f{i}.jpg", reason=f"reason-{i}", message=f"Message {i}.") for i in range(3))
    parsed = Parsed(render(GalleryPage(title="t", subtitle="", pictures=(picture(),), failures=failures)))
    assert "3 failed" in parsed.text
    for failure in failures:
        for text in (failure.name, failure.reason, failure.message):
            assert parsed.text.count(text) == 1


def test_facts_and_details_are_shown_with_their_labels() -> None:
    page = GalleryPage(
        title="Autumn",
        subtitle="After Van Gogh",
        facts=(("Pictures per hour", "214"),),
        pictures=(picture(details=(("Loss", "1.8"),)),),
    )
    text = re.sub(r"\s+", " ", Parsed(render(page)).text)
    for expected in ("Autumn", "After Van Gogh", "Pictures per hour214", "Loss1.8", "Size300 × 200 px", "1 picture "):
        assert expected in text


def test_the_shape_of_each_picture_is_known_before_it_loads_and_kept_within_bounds() -> None:
    sizes = ((300, 200), (10, 1000), (1000, 10))
    pictures = tuple(GalleryPicture(name="a", before="a.jpg", after="b.jpg", width_px=w, height_px=h) for w, h in sizes)
    parsed = Parsed(render(GalleryPage(title="t", subtitle="", pictures=pictures)))
    (style,) = parsed.raw["style"]
    assert re.findall(r"#p(\d)\{--ratio:([\d.]+)\}", style) == [("1", "1.5000"), ("2", "0.4500"), ("3", "3.2000")]
    assert parsed.attributes("img", "loading") == ["lazy"] * 6
    assert parsed.attributes("img", "width") == ["300", "300", "10", "10", "1000", "1000"]
