"""What planning has to remember of each picture, in a file without a name: any catalog takes the same memory.

SQLite keeps a temporary database in memory up to CACHE_KIB, and the rest in $TMPDIR, else in /var/tmp or /tmp: some 300
bytes a picture, and as much again where earlier runs have finished it. The file is gone when it is closed, or when its
process ends, however that happens.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from stylefleet.companions import Pin
from stylefleet.errors import ScratchUnusable
from stylefleet.naming import Part, Ref
from stylefleet.receipt import Done
from stylefleet.store import Listed
from stylefleet.tasks import Task

CACHE_KIB = 32 * 1024

_TABLES = """
CREATE TABLE task (number INTEGER PRIMARY KEY, id BLOB, output TEXT, line BLOB);
CREATE TABLE shared (output TEXT PRIMARY KEY, first INTEGER) WITHOUT ROWID;
CREATE TABLE source (key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE pin (place INTEGER, key TEXT, etag TEXT, size INTEGER, PRIMARY KEY (place, key)) WITHOUT ROWID;
CREATE TABLE part (run TEXT, shard INTEGER, whole INTEGER, key TEXT, size INTEGER);
CREATE INDEX whole ON part (run, shard) WHERE whole;
CREATE TABLE done (id BLOB, etag TEXT, finished_at REAL);
CREATE TABLE result (key TEXT PRIMARY KEY, etag TEXT) WITHOUT ROWID;
CREATE TABLE todo (number INTEGER PRIMARY KEY);
"""

_SHARED = "INSERT INTO shared SELECT output, min(number) FROM task GROUP BY output HAVING count(*) > 1"

_TWINS = """
SELECT later.number, earlier.line, later.line FROM task AS later
JOIN shared ON shared.output = later.output JOIN task AS earlier ON earlier.number = shared.first
WHERE later.number > shared.first ORDER BY later.number
"""

_OVER_SOURCE = "SELECT number, line FROM task WHERE output IN (SELECT key FROM source) ORDER BY number LIMIT 1"

_PARTS = """
SELECT key, whole FROM part WHERE whole OR NOT EXISTS (
    SELECT 1 FROM part AS other WHERE other.whole AND other.run = part.run AND other.shard = part.shard
)
"""

_TO_DO = """
INSERT INTO todo SELECT number FROM task WHERE NOT EXISTS (
    SELECT 1 FROM result WHERE result.key = task.output AND result.etag = (
        SELECT done.etag FROM done WHERE done.id = task.id ORDER BY done.finished_at DESC, done.rowid LIMIT 1
    )
)
"""

_BECAUSE = """
SELECT sum(NOT known), sum(known AND NOT there), sum(known AND there) FROM (
    SELECT EXISTS (SELECT 1 FROM done WHERE done.id = task.id) AS known,
        EXISTS (SELECT 1 FROM result WHERE result.key = task.output) AS there
    FROM todo JOIN task USING (number)
)
"""


class Move(NamedTuple):
    """From where to where a task goes: URIs as they are, which may be unusable."""

    content: str
    output: str

    @staticmethod
    def of(line: bytes) -> Move:
        _, content, _, _, output, *_ = json.loads(line)
        return Move(content, output)


class ToDoBecause(NamedTuple):
    """Of the tasks that are to be done, how many for which reason."""

    new: int
    """No receipt of an earlier run: the picture, a style, a mask or the recipe is new or was changed, or it failed."""
    gone: int
    """Done by an earlier run, but the result is not there."""
    replaced: int
    """Done by an earlier run, but something else lies in the result's place."""


class Ledger:
    """The pictures of one plan while it is made. For one thread.

    Every method may raise ScratchUnusable.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        with _room():
            # Nobody else sees it, and nobody wants it back: no locks, no journal.
            self._db.executescript(
                f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                f"PRAGMA locking_mode = EXCLUSIVE; {_TABLES} BEGIN;"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    # --- tasks ----------------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return self._count("task")

    def add_tasks(self, tasks: Iterable[Task]) -> None:
        """Tasks in their order; they are numbered from 1."""
        rows = ((bytes.fromhex(t.task_id), t.output.key, f"{t.to_line()}\n".encode()) for t in tasks)
        self._add("INSERT INTO task (id, output, line) VALUES (?, ?, ?)", rows)

    def add_sources(self, keys: Iterable[str]) -> None:
        """Keys in the bucket of the results that no result may have."""
        self._add("INSERT OR IGNORE INTO source VALUES (?)", ((key,) for key in keys))

    def first_twin(self) -> tuple[int, Move, Move] | None:
        """The first task whose result is that of an earlier picture: its number, and the moves of both. Once only."""
        with _room():
            self._db.execute(_SHARED)
            for number, earlier, later in self._db.execute(_TWINS):
                first, second = Move.of(earlier), Move.of(later)
                if first.content != second.content:
                    return number, first, second
        return None

    def first_over_source(self) -> tuple[int, Move] | None:
        """The first task whose result would overwrite a source: its number and its move."""
        with _room():
            found = self._db.execute(_OVER_SOURCE).fetchone()
        return None if found is None else (found[0], Move.of(found[1]))

    # --- companions -----------------------------------------------------------------------------------------------

    def add_pins(self, place: int, pins: Iterable[Pin]) -> None:
        """What lies in one of the places of companions."""
        self._add("INSERT INTO pin VALUES (?, ?, ?, ?)", ((place, p.ref.key, p.etag, p.size_bytes) for p in pins))

    def pin(self, place: int, bucket: str, key: str) -> Pin | None:
        """What lies at a key of a place, which is in this bucket; None where nothing does."""
        with _room():
            found = self._db.execute("SELECT etag, size FROM pin WHERE place = ? AND key = ?", (place, key)).fetchone()
        return None if found is None else Pin(Ref(bucket, key), *found)

    def has_pins(self, place: int) -> bool:
        """Whether anything lies in a place."""
        with _room():
            return self._db.execute("SELECT 1 FROM pin WHERE place = ? LIMIT 1", (place,)).fetchone() is not None

    # --- what is finished already ---------------------------------------------------------------------------------

    def add_parts(self, parts: Iterable[tuple[Part, Listed]]) -> None:
        """Objects that tell of finished tasks."""
        rows = ((p.run, p.shard, p.whole, o.ref.key, o.size_bytes) for p, o in parts)
        self._add("INSERT INTO part VALUES (?, ?, ?, ?, ?)", rows)

    def parts_to_read(self) -> Iterator[tuple[str, bool]]:
        """Keys of those that say all there is to say, and whether each tells all of its shard."""
        with _room():
            for key, whole in self._db.execute(_PARTS):
                yield key, bool(whole)

    def largest_part(self) -> int:
        """Bytes; 0 where there is none."""
        with _room():
            (largest,) = self._db.execute("SELECT coalesce(max(size), 0) FROM part").fetchone()
        return int(largest)

    def add_done(self, done: Iterable[Done]) -> None:
        """What receipts say; of several about one task the newest counts."""
        rows = ((bytes.fromhex(d.task_id), d.result_etag, d.finished_at) for d in done)
        self._add("INSERT INTO done VALUES (?, ?, ?)", rows)

    def any_done(self) -> bool:
        """Whether one of the tasks is done; after all receipts."""
        with _room():
            self._db.execute("CREATE INDEX newest ON done (id, finished_at DESC)")
            return self._db.execute("SELECT 1 FROM task JOIN done USING (id) LIMIT 1").fetchone() is not None

    def add_results(self, etag_by_key: Iterable[tuple[str, str]]) -> None:
        """Key and ETag of what lies in the folder of the results; not needed where no task is done."""
        self._add("INSERT OR REPLACE INTO result VALUES (?, ?)", etag_by_key)

    def close_books(self) -> int:
        """How many tasks are to be done: no receipt of an earlier run, or a result that is gone or was replaced."""
        with _room():
            self._db.execute(_TO_DO)
        return self._count("todo")

    def to_do_because(self) -> ToDoBecause:
        """Why tasks are to be done; after the books are closed."""
        with _room():
            new, gone, replaced = self._db.execute(_BECAUSE).fetchone()
        return ToDoBecause(new=new or 0, gone=gone or 0, replaced=replaced or 0)

    def lines_to_do(self) -> Iterator[bytes]:
        """The lines of the tasks to be done, in their order; after the books are closed."""
        with _room():
            for (line,) in self._db.execute("SELECT line FROM todo JOIN task USING (number) ORDER BY number"):
                yield line

    # --------------------------------------------------------------------------------------------------------------

    def _add(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        with _room():
            self._db.executemany(statement, rows)

    def _count(self, table: str) -> int:
        with _room():
            (count,) = self._db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own names
        return int(count)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise ScratchUnusable(
            f"planning found no room for its notes: {error}. They go to $TMPDIR, else to /var/tmp or /tmp, and take "
            "300 to 600 bytes a picture"
        ) from error
