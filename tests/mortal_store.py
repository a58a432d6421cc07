"""A store whose caller dies at one of its calls, before the call takes effect or after: kill -9 without a process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from stylefleet.naming import Ref
from stylefleet.store import Listed, Object, Store

T = TypeVar("T")


class Killed(BaseException):
    """No handler sees this, as none sees a SIGKILL."""


@dataclass(frozen=True)
class Point:
    """A moment to die at."""

    method: str
    ref: Ref
    nth: int
    """Of the calls of this method with this object, from 1."""
    after: bool
    """Whether the call has taken effect; its answer has not come."""


class MortalStore:
    """One process's view of a store. After its death no call of any of its threads does anything."""

    def __init__(self, real: Store, dies_at: Point | None = None) -> None:
        self.calls: list[tuple[str, Ref, int]] = []
        """Method, object, and which of their like it was."""
        self._real, self._dies_at = real, dies_at
        self._counted: Counter[tuple[str, Ref]] = Counter()
        self._dead = False
        self._lock = threading.Lock()

    @property
    def points(self) -> list[Point]:
        """Every moment at which whoever made these calls could have died between two of them, or in one."""
        return [Point(*call, after) for call in self.calls for after in (False, True)]

    @property
    def dead(self) -> bool:
        return self._dead

    def die(self) -> None:
        """Here and now."""
        self._dead = True
        raise Killed

    def _call(self, method: str, ref: Ref, call: Callable[[], T]) -> T:
        with self._lock:
            self._counted[method, ref] += 1
            nth = self._counted[method, ref]
            self.calls.append((method, ref, nth))
            self._dead = self._dead or self._dies_at == Point(method, ref, nth, after=False)
            if self._dead:
                raise Killed
        try:
            return call()
        finally:  # also where the answer is an error
            with self._lock:
                self._dead = self._dead or self._dies_at == Point(method, ref, nth, after=True)
                if self._dead:
                    raise Killed

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        return self._call("get", ref, lambda: self._real.get(ref, if_match=if_match))

    def put(
        self,
        ref: Ref,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        def put() -> str:
            return self._real.put(
                ref, data, if_absent=if_absent, if_match=if_match, content_type=content_type, metadata=metadata
            )

        return self._call("put", ref, put)

    def delete(self, ref: Ref) -> None:
        self._call("delete", ref, lambda: self._real.delete(ref))

    def list(self, prefix: Ref) -> Iterator[Listed]:
        return iter(self._call("list", prefix, lambda: list(self._real.list(prefix))))
