"""`stylefleet init`: a commented manifest for this bucket, by what a bounded look finds in it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stylefleet import manifest as manifests
from stylefleet import naming
from stylefleet.cli.output import say
from stylefleet.errors import SettingsInvalid, printable
from stylefleet.naming import Ref
from stylefleet.store import Store

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Of pictures that a manifest takes where it does not say which."""
FOLDERS_MAX = 100
"""Top folders that are looked into."""
OBJECTS_MAX = 500
"""That are looked at in each."""
_LAST = "\U0010ffff"
"""Comes after every key of a folder."""
STYLES_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is in the bucket, as far as it was looked at."""

    content: str | None
    """The folder with the most pictures that are no styles."""
    pictures: int
    """In it; OBJECTS_MAX may have cut the count."""
    styles: tuple[str, ...]
    """Keys of pictures in a folder that is called after styles."""


def run(store: Store, bucket: str, path: Path | None, *, name: str) -> None:
    """Print the manifest, or write it into a file that is not there yet. Raises NotFound (bucket), SettingsInvalid."""
    if not naming.NAME_PATTERN.fullmatch(name):
        raise SettingsInvalid(f"--name: found {name!r}, allowed are {naming.NAME_RULE}")
    if path is not None and path.exists():
        raise SettingsInvalid(f"{path}: there is such a file already; name another one")
    found = survey(store, bucket)
    text = text_for(bucket, name, found)
    manifests.parse(text.encode(), name=name, service_bucket=bucket)  # what we offer obeys our own rules
    if path is None:
        print(text, end="")
    else:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        say(f"wrote {path}\nnext:  stylefleet plan {path}  and  stylefleet submit {path} --wait")
    if found.content is None:
        say(f"no folder with pictures in s3://{bucket}/: put some there, and their folder into spec.content.prefix")
    if not found.styles:
        say(
            f"no folder with styles in s3://{bucket}/: put a picture into s3://{bucket}/styles/, and its key into image"
        )


def survey(store: Store, bucket: str) -> Found:
    """Look into the bucket's folders, OBJECTS_MAX objects of FOLDERS_MAX folders at the most."""
    counts: Counter[str] = Counter()
    styles: list[str] = []
    for folder in itertools.islice(_folders(store, bucket), FOLDERS_MAX):
        for listed in itertools.islice(store.list(Ref(bucket, folder)), OBJECTS_MAX):
            key = listed.ref.key
            if not key.lower().endswith(SUFFIXES) or naming.key_fault(key) or printable(key) != key:
                continue
            if any("style" in part.lower() for part in key.split("/")[:-1]):
                styles.append(key)
            else:
                counts[folder] += 1
    content, pictures = next(iter(counts.most_common(1)), (None, 0))
    return Found(content=content, pictures=pictures, styles=tuple(styles[:STYLES_SHOWN]))


def _folders(store: Store, bucket: str) -> Iterator[str]:
    """The bucket's top folders but for our own, each found by one look behind the one before."""
    after = ""
    while True:
        first = next(iter(store.list(Ref(bucket, ""), after=after)), None)
        if first is None:
            return
        folder, slash, _ = first.ref.key.partition("/")
        after = f"{folder}/{_LAST}" if slash else first.ref.key
        if slash and folder and f"{folder}/" not in naming.OWN_PREFIXES and not naming.key_fault(f"{folder}/"):
            yield f"{folder}/"


def text_for(bucket: str, name: str, found: Found) -> str:
    """The manifest, with a word on each part."""
    content = found.content or "pictures/"
    more = "or more " if found.pictures >= OBJECTS_MAX else ""
    seen = f"{found.pictures} {more}pictures were found here" if found.content else "EDIT: the folder of your pictures"
    return f"""\
# A style job for s3://{bucket}. Check it with `stylefleet validate`, see what it comes to with `stylefleet plan`, and
# put it to work with `stylefleet submit`. `stylefleet explain spec.recipe` tells every field.
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata:
  name: {name}
spec:
  content:
    prefix: {_quoted(bucket, content)}  # {seen}
    # include: ["*.jpg"]                 # patterns below the prefix; without them JPEG, PNG and WebP
    # exclude: ["*draft*"]
  styles:                                # several are blended by weight
{_styles(bucket, found.styles)}
  output:
    prefix: {_quoted(bucket, f"restyled/{name}/")}
    format: jpeg                         # or png, webp
    quality: 92
  recipe:
    preset: balanced                     # draft is quick, fine the most careful; also impressionist, portrait
    size: 512                            # longer edge of the results in pixels
    # styleWeight: 1.0e-2                # higher paints more
    # contentWeight: 1.0e+3              # higher keeps more of the photo
    # colors: luminance                  # keeps the photo's colours
  run:
    parallelism: 8                       # workers at the same time
    # deadline: 6h
    # maxFailures: 1%
    # resources: {{gpu: 0}}                # where there are no GPUs
"""


def _styles(bucket: str, styles: Sequence[str]) -> str:
    if not styles:
        return f"    - image: {_quoted(bucket, 'styles/style.jpg')}  # EDIT: a picture whose style they get"
    first, *others = styles
    lines = [f"    - image: {_quoted(bucket, first)}", "      weight: 1"]
    lines += [f"    # - {{image: {_quoted(bucket, other)}, weight: 0.5}}" for other in others]
    return "\n".join(lines)


def _quoted(bucket: str, key: str) -> str:
    """As a YAML value, whatever the key has in it."""
    return json.dumps(str(Ref(bucket, key)), ensure_ascii=False)
