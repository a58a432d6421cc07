"""A manifest that a program makes: the same models, the same errors and the same bytes in the inbox as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import yaml

from stylefleet import submitting
from stylefleet.errors import ManifestInvalid
from stylefleet.manifest import Manifest

Fields = Mapping[str, object]
"""Fields of a part of the manifest, by the names that they have there."""


@dataclass(frozen=True)
class StyleJob:
    """A checked manifest, ready to be submitted. Raises ManifestInvalid with every broken rule at once.

    >>> job = StyleJob.build(
    ...     name="spring",
    ...     content="s3://shop/catalog/",
    ...     styles=["s3://shop/styles/starry_night.jpg"],
    ...     output="s3://shop/restyled/spring/",
    ...     recipe={"preset": "portrait", "size": 1024},
    ... )
    >>> job.manifest.spec.recipe.size
    1024
    >>> print(job.data.decode())
    apiVersion: stylefleet.dev/v1
    kind: StyleJob
    metadata:
      name: spring
    spec:
      content:
        prefix: s3://shop/catalog/
      styles:
      - image: s3://shop/styles/starry_night.jpg
      output:
        prefix: s3://shop/restyled/spring/
      recipe:
        preset: portrait
        size: 1024
    <BLANKLINE>

    What is wrong is told as to the writer of a file, without lines and columns:

    >>> StyleJob.build(
    ...     name="spring", content="s3://shop/catalog/", styles=[], output="s3://shop/new/", recipe={"sise": 512}
    ... )
    Traceback (most recent call last):
        ...
    stylefleet.errors.ManifestInvalid: spec.styles: List should have at least 1 item after validation, not 0 (found: [])
    spec.recipe.sise: there is no such field (found: sise) (allowed: did you mean size?)
    """

    data: bytes = field(repr=False)
    """The manifest's bytes, YAML or JSON: what a file in `jobs/` would hold."""
    name: str = field(init=False)
    """Its `metadata.name`."""
    manifest: Manifest = field(init=False, repr=False)
    """What it says."""

    def __post_init__(self) -> None:
        name, manifest = submitting.checked(self.data)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "manifest", manifest)

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """The job of a manifest file. Raises OSError where it cannot be read."""
        return cls(Path(path).read_bytes())

    @classmethod
    def build(
        cls,
        *,
        name: str,
        content: str | Sequence[str] | Fields,
        styles: Sequence[str | Fields],
        output: str | Fields,
        recipe: Fields | None = None,
        run: Fields | None = None,
        protect: str | None = None,
        start: str | None = None,
    ) -> Self:
        """A job from its parts, each as in a manifest: docs/manifest.md has all fields.

        `content` is a folder `s3://bucket/folder/`, a list of pictures, or fields; `styles` are pictures or fields such
        as `{"image": ..., "weight": 0.3}`; `output` is a folder or fields. Raises TypeError for values that no
        manifest can hold, such as arrays.
        """
        spec = {
            "content": _fields(content, "prefix" if isinstance(content, str) else "keys"),
            "styles": [_fields(style, "image") for style in styles],
            "output": _fields(output, "prefix"),
            "recipe": None if recipe is None else dict(recipe),
            "protect": protect,
            "start": start,
            "run": None if run is None else dict(run),
        }
        spec = {key: value for key, value in spec.items() if value is not None}
        document = {"apiVersion": "stylefleet.dev/v1", "kind": "StyleJob", "metadata": {"name": name}, "spec": spec}
        # By way of JSON: plain types only, and no part twice, of which YAML would make an alias.
        plain = json.loads(json.dumps(document))
        data = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000).encode()
        try:
            return cls(data)
        except ManifestInvalid as error:
            # Lines and columns are of a file that nobody has written.
            raise ManifestInvalid([replace(e, line=None, column=None) for e in error.errors]) from None


def _fields(given: object, only: str) -> dict[str, object]:
    """The fields of a part; anything else than fields stands for its field `only`."""
    return dict(given) if isinstance(given, Mapping) else {only: given}
