"""The inbox, listed again and again: in ranges of keys at a time, and only what has changed is looked at.

S3 lists a thousand objects a request, each of which begins where the one before ended. The keys that the last listing
showed divide the inbox into ranges, which are listed side by side; a manifest that comes or goes changes one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stylefleet import naming
from stylefleet.inbox import Inbox, inbox_of
from stylefleet.naming import Ref
from stylefleet.store import Listed, Page, Store
from stylefleet.streams import in_order

RANGE_OBJECTS = 900
"""Of a range when it is made."""
PAGE_OBJECTS = 1000
"""That a request lists: a range may grow up to it."""
AT_A_TIME = 4
"""Requests."""


@dataclass(frozen=True, kw_only=True)
class _Range:
    """The keys after `after` up to `last`, as they were listed."""

    after: str
    last: str
    """Empty for the last range."""
    pages: Sequence[Page]
    """Which may go on beyond it."""
    flat: bool
    """Whether no page has an object in a folder of the inbox."""
    inbox: Inbox
    """Of the objects in it."""

    @property
    def bounds(self) -> tuple[str, str]:
        return self.after, self.last


class InboxReader:
    """Of one bucket. For one thread."""

    def __init__(self, store: Store, bucket: str, *, of_tenants: bool) -> None:
        self._store = store
        self._folder = Ref(bucket, naming.INBOX_PREFIX)
        self._of_tenants = of_tenants
        self._ranges: list[_Range] = []
        self._inbox = Inbox(manifests={}, twins=(), keys=frozenset())

    def read(self) -> Inbox:
        """What lies in the inbox now. Objects that are as they were are the same objects as before; an inbox where
        nothing has changed is the same inbox. Raises what the store raises."""
        ranges = self._listed([each.bounds for each in self._ranges] or [WHOLE])
        if len(ranges) > 1 and not all(each.flat for each in ranges):
            # Where the files of a folder stand in a listing differs between stores, and so what comes after a key.
            ranges = self._listed([WHOLE])
        if list(map(id, ranges)) != list(map(id, self._ranges)):
            self._inbox = self._joined(ranges)
            self._ranges = self._divided(ranges) if _are_uneven(ranges) else ranges
        return self._inbox

    def _listed(self, bounds: Sequence[tuple[str, str]]) -> list[_Range]:
        known = {page.digest: page for each in self._ranges for page in each.pages if page.digest}
        before = {each.bounds: each for each in self._ranges}

        def listed(bound: tuple[str, str]) -> _Range:
            pages = self._pages(*bound, known)
            old = before.get(bound)
            return old if old and list(map(id, old.pages)) == list(map(id, pages)) else self._range(*bound, pages)

        return list(in_order(listed, bounds, threads=AT_A_TIME, ahead=len(bounds)))

    def _pages(self, after: str, last: str, known: Mapping[bytes, Page]) -> list[Page]:
        pages: list[Page] = []
        for page in self._store.pages(self._folder, after=after, known=known):
            pages.append(page)
            if last and any(_is_flat(o) and o.ref.key > last for o in reversed(page.objects)):
                break  # nothing that follows comes before the end, whatever the place of folders
        return pages

    def _range(self, after: str, last: str, pages: Sequence[Page]) -> _Range:
        inbox = inbox_of(_within(pages, after, last), of_tenants=self._of_tenants)
        flat = all(_is_flat(o) for page in pages for o in page.objects)
        return _Range(after=after, last=last, pages=pages, flat=flat, inbox=inbox)

    def _joined(self, ranges: Sequence[_Range]) -> Inbox:
        manifests: dict[str, Listed] = {}
        for each in ranges:
            manifests.update(each.inbox.manifests)
        if len(manifests) != sum(len(each.inbox.manifests) for each in ranges):
            return inbox_of(_objects(ranges), of_tenants=self._of_tenants)  # two files of one name, in two ranges
        return Inbox(
            manifests=manifests,
            twins=tuple(twin for each in ranges for twin in each.inbox.twins),
            keys=frozenset().union(*(each.inbox.keys for each in ranges)),
        )

    def _divided(self, ranges: list[_Range]) -> list[_Range]:
        """Ranges for the next reading, of one page each; the same where there are folders."""
        if not all(each.flat for each in ranges):
            return ranges
        lasts = [o.ref.key for o in _objects(ranges)][RANGE_OBJECTS - 1 :: RANGE_OBJECTS]
        return [self._range(after, last, []) for after, last in zip(["", *lasts], [*lasts, ""], strict=True)]


WHOLE = ("", "")
"""The bounds of the whole inbox."""


def _are_uneven(ranges: Sequence[_Range]) -> bool:
    """Whether one needs several requests, or there are many more ranges than are needed."""
    sizes = [len(each.inbox.keys) for each in ranges]
    return max(sizes) >= PAGE_OBJECTS or (len(sizes) > 1 and sum(sizes) < len(sizes) * RANGE_OBJECTS // 3)


def _objects(ranges: Sequence[_Range]) -> Iterator[Listed]:
    return (o for each in ranges for o in _within(each.pages, each.after, each.last))


def _within(pages: Sequence[Page], after: str, last: str) -> Iterator[Listed]:
    return (o for page in pages for o in page.objects if o.ref.key > after and not (last and o.ref.key > last))


def _is_flat(listed: Listed) -> bool:
    return "/" not in listed.ref.key.removeprefix(naming.INBOX_PREFIX)
