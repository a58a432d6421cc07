"""From a listing to tasks: which pictures are asked for, what each becomes, what makes one impossible. Pure.

A catalog may have millions of pictures, so nothing here holds more than one of them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stylefleet import naming
from stylefleet.companions import Companion, Listing, Pin, companions_of, pin
from stylefleet.errors import FieldError, PlanInvalid
from stylefleet.manifest import Content, Manifest, Spec
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare
from stylefleet.store import Listed
from stylefleet.tasks import Shaping, Task

LEFT_OUT_SHOWN = 3


def matcher(content: Content) -> Callable[[str], bool]:
    """Whether a path below the content prefix is asked for: some include and no exclude pattern, in any case."""
    included, excluded = _any_of(content.include), _any_of(content.exclude)

    def asked_for(relative: str) -> bool:
        lowered = relative.lower()
        return included(lowered) is not None and excluded(lowered) is None

    return asked_for


def _any_of(patterns: Iterable[str]) -> Callable[[str], re.Match[str] | None]:
    """Of shell patterns; of none, what fits nothing."""
    return re.compile("|".join(fnmatch.translate(p.lower()) for p in patterns) or r"(?!)").match


@dataclass(kw_only=True)
class LeftOut:
    """What lies below the content prefix and is no picture to restyle."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    """Paths below the prefix of the first few."""

    def add(self, relative: str) -> None:
        self.count += 1
        if len(self.first) < LEFT_OUT_SHOWN:
            self.first.append(relative)


def pictures_among(listed: Iterable[Listed], spec: Spec, left_out: LeftOut) -> Iterator[Listed]:
    """Of what lies below the content prefix, the pictures to restyle: what the patterns ask for, without the run's own
    styles, masks and starts where these lie there too. The rest is `left_out`."""
    prefix = naming.parse_uri(spec.content.prefix or "")
    asked_for, skip = matcher(spec.content), len(prefix.key)
    styles = {naming.parse_uri(style.image) for style in spec.styles}
    beside = [c.at for c in companions_of(spec) if c.at != prefix and naming.is_below(c.at, prefix)]
    for each in listed:
        ref = each.ref
        if asked_for(ref.key[skip:]) and ref not in styles and not any(naming.is_below(ref, at) for at in beside):
            yield each
        else:
            left_out.add(ref.key[skip:])


class TaskMaker:
    """Makes the task of each picture of a manifest; what does not depend on the picture is worked out once."""

    def __init__(
        self, manifest: Manifest, styles: Sequence[StyleShare], companions: Mapping[Companion, Listing]
    ) -> None:
        spec = manifest.spec
        self._companions = companions
        self._base = None if spec.content.prefix is None else naming.parse_uri(spec.content.prefix).key
        """Key of the content prefix; None where pictures are named one by one."""
        self._output = naming.parse_uri(spec.output.prefix)
        self._image_format = spec.output.format
        self._pins_endangered = any(self._is_among_results(c.at) for c in companions)
        self._shaping = Shaping(
            styles=styles,
            recipe=spec.recipe.to_recipe(),
            image_format=spec.output.format,
            quality=spec.output.quality,
            depth=spec.output.depth,
            keep_metadata=spec.output.keep_metadata,
            companions=tuple(companions),
        )
        self.styles_endangered = [s.image.key for s in styles if self._is_among_results(s.image)]
        """Keys of the styles that lie where the results go."""

    def task(self, picture: Listed) -> Task:
        """The task of a picture."""
        relative = picture.ref.key[len(self._base or "") :]
        pins = self._pins_of(picture.ref.key) if self._companions else ()
        return Task(
            task_id=self._shaping.task_id(picture.ref, picture.etag, pins),
            content=picture.ref,
            content_etag=picture.etag,
            size_bytes=picture.size_bytes,
            output=Ref(self._output.bucket, self._output.key + naming.output_path(relative, self._image_format)),
            companions=pins,
        )

    def _pins_of(self, key: str) -> tuple[Pin, ...]:
        relative = key.rpartition("/")[2] if self._base is None else key[len(self._base) :]
        return tuple(pin(companion, relative, listing) for companion, listing in self._companions.items())

    def endangered(self, task: Task) -> list[str]:
        """Keys of the task's own sources that lie where the results go; mostly none."""
        sources = [task.content]
        if self._pins_endangered:
            sources += [p.ref for p in task.companions]
        return [ref.key for ref in sources if self._is_among_results(ref)]

    def _is_among_results(self, ref: Ref) -> bool:
        return ref.bucket == self._output.bucket and ref.key.startswith(self._output.key)

    def misplaced(self, task: Task) -> PlanInvalid | None:
        """Why the task cannot be carried out: its result or a companion has a place that cannot be used."""
        places = [("in the result's place", task.output)]
        if task.companions:
            named = zip(self._companions, task.companions, strict=True)
            places += [(f"in the place of its {c.noun}", p.ref) for c, p in named]
        for where, ref in places:
            fault = naming.key_fault(ref.key)
            if fault:
                return refusal("spec.content", f"{where} {fault}", f"{task.content} -> {ref}", "exclude or rename it")
        return None


def unusable(picture: Listed) -> FieldError | None:
    """What is wrong with a picture's key: a listing may hold keys that no manifest may name. Said at once, rather than
    by a shard that cannot be read."""
    fault = naming.key_fault(picture.ref.key)
    if not fault:
        return None
    found = _shortened(str(picture.ref))
    return FieldError(path="spec.content", message=fault, found=found, allowed="exclude or rename it")


def refusal(path: str, message: str, found: str, allowed: str) -> PlanInvalid:
    """A plan that cannot be made for one reason; `found` is cut where it is long."""
    return PlanInvalid([FieldError(path=path, message=message, found=_shortened(found), allowed=allowed)])


def _shortened(text: str) -> str:
    return text if len(text) <= 400 else text[:397] + "..."
