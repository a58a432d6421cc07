"""Damaged manifests and pictures, by the hundred thousand: `python -m tests.faults.fuzz --cases N --seed S`.

Each case is a good file that was damaged at some places: bits turned, stretches cut, doubled, moved or exchanged with
those of another file, lines and values of hostile samples put in. Whatever comes of it must be a value or the one error
that its reader promises; anything else ends the run with the seed and the file.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from stylefleet import manifest as manifests
from stylefleet import pictures
from stylefleet.errors import ImageInvalid, ManifestInvalid
from stylefleet.field_errors import ERRORS_MAX
from tests.builders import manifest_bytes

HOSTILE_MANIFESTS: tuple[bytes, ...] = (
    b"a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n",
    b"!!python/object/apply:os.system ['true']\n",
    b"spec: !!binary aGVsbG8=\n",
    b"<<: {apiVersion: stylefleet.dev/v1}\n",
    b"--- 1\n--- 2\n",
    b"[" * 5000,
    b"{" * 5000,
    b"a: " * 4000,
    b"\xef\xbb\xbfkind: StyleJob\n",
    "kind: StyleJob\n".encode("utf-16"),
    b"kind: \x00StyleJob\n",
    b"kind: 'Style\x1b[2JJob'\n",
    b"spec: {recipe: {size: 1e400, contentWeight: -.inf, styleWeight: .nan}}\n",
    b"spec: {recipe: {size: 99999999999999999999999999999999999}}\n",
    b"spec: {run: {parallelism: 0x7fffffff, deadline: 12:30:00, maxFailures: 1e2%}}\n",
    "metadata: {name: \u202egnirps}\n".encode(),
    b"kind: StyleJob\nkind: StyleJob\n",
    b"? [complex, key]\n: value\n",
    b"%YAML 9.9\n%TAG ! tag:evil,2000:\n---\na: !x y\n",
    b"spec:\n\tcontent: {}\n",
    b'{"spec": {"content": {"prefix": "s3://b/\\ud800"}}}',
    b"spec: {content: {prefix: s3://shop/../../etc/, include: ['" + b"*" * 500 + b"']}}\n",
)
"""What others' parsers fell over."""


def damaged(data: bytes, others: Sequence[bytes], randomness: random.Random) -> bytes:
    """`data` with one to six faults."""
    damaged_data = bytearray(data)
    for _ in range(randomness.randint(1, 6)):
        where, length = randomness.randrange(len(damaged_data) + 1), randomness.choice((1, 1, 2, 8, 64, 1024))
        piece = bytes(damaged_data[where : where + length])
        other = randomness.choice(others)
        start = randomness.randrange(len(other))
        match randomness.randrange(6):
            case 0:
                for index in range(where, min(where + length, len(damaged_data))):
                    damaged_data[index] ^= 1 << randomness.randrange(8)
            case 1:
                del damaged_data[where : where + length]
            case 2:
                damaged_data[where:where] = piece * randomness.choice((1, 2, 50))
            case 3:
                damaged_data[where : where + length] = other[start : start + length]
            case 4:
                damaged_data[where:where] = other
            case _:
                del damaged_data[where:]
        if not damaged_data:
            return b""
    return bytes(damaged_data)


def read_manifest(data: bytes) -> str:
    """How it ended, in a word."""
    try:
        manifests.parse(data, name="spring", service_bucket="service")
    except ManifestInvalid as error:
        assert 1 <= len(error.errors) <= ERRORS_MAX + 1
        assert all(e.message and len(str(e)) < 4000 for e in error.errors)
        return "refused"
    return "read"


def read_picture(data: bytes) -> str:
    """How it ended, in a word."""
    try:
        pixels = pictures.decode(data, pixels_max=4_000_000)
    except ImageInvalid as error:
        assert error.reason
        assert str(error)
        return "refused"
    assert pixels.dtype == "uint8"
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    return "read"


def good_manifests() -> list[bytes]:
    """Of several shapes, as JSON and YAML."""
    path = Path(__file__).parents[2] / "docs" / "effects.yaml"
    return [
        manifest_bytes(),
        manifest_bytes(styles=[{"image": f"s3://shop/styles/{n}.jpg", "weight": n} for n in range(1, 9)]),
        manifest_bytes(content={"keys": [f"s3://shop/{n}.jpg" for n in range(40)]}, run={"deadline": "6h"}),
        path.read_bytes(),
    ]


def good_pictures() -> list[bytes]:
    """A small one of each format and kind of pixels."""
    gradient = Image.linear_gradient("L").resize((40, 30))
    kinds = (
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {}),
        ("JPEG", "CMYK", {}),
        ("JPEG", "RGB", {"progressive": True, "icc_profile": b"no profile"}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("PNG", "I;16", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("GIF", "P", {}),
    )
    found = []
    for format_name, mode, options in kinds:
        buffer = io.BytesIO()
        gradient.convert(mode).save(buffer, format_name, **options)
        found.append(buffer.getvalue())
    return found


SUBJECTS: dict[str, tuple[Callable[[bytes], str], Callable[[], list[bytes]], Sequence[bytes]]] = {
    "manifests": (read_manifest, good_manifests, HOSTILE_MANIFESTS),
    "pictures": (read_picture, good_pictures, ()),
}


def run(subject: str, cases: int, seed: int) -> Counter[str]:
    """Outcomes by word; raises what a reader let through, with the case noted on it."""
    read, good, hostile = SUBJECTS[subject]
    samples, outcomes = good(), Counter[str]()
    others = [*samples, *hostile]
    for sample in others:
        outcomes[read(sample)] += 1
    for number in range(cases):
        randomness = random.Random(f"{seed}-{subject}-{number}")  # noqa: S311 - to be repeatable
        data = damaged(randomness.choice(samples), others, randomness)
        try:
            outcomes[read(data)] += 1
        except BaseException as error:
            error.add_note(f"{subject}: case {number} of seed {seed}: {data[:2000]!r}")
            raise
    return outcomes


def main() -> None:
    """Run so many cases of each subject and print how they ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    for subject in SUBJECTS:
        started = time.monotonic()
        outcomes = run(subject, asked.cases, asked.seed)
        words = ", ".join(f"{count:,} {word}" for word, count in outcomes.most_common())
        print(
            f"{subject}: {outcomes.total():,} cases of seed {asked.seed}: {words}; {time.monotonic() - started:.0f} s"
        )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
