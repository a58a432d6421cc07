from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from stylefleet import naming
from stylefleet.naming import Ref
from tests.builders import NOW, RUN

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@pytest.mark.parametrize(
    ("uri", "ref"),
    [
        ("s3://shop/a.jpg", Ref("shop", "a.jpg")),
        ("s3://shop/", Ref("shop", "")),
        ("s3://shop/catalog/", Ref("shop", "catalog/")),
        ("s3://my.bucket-1/a b/c+d%20#e?.jpg", Ref("my.bucket-1", "a b/c+d%20#e?.jpg")),
        ("s3://shop/Ünïcode/\u2028写真.jpg", Ref("shop", "Ünïcode/\u2028写真.jpg")),
        ("s3://shop/.hidden/..a/b..", Ref("shop", ".hidden/..a/b..")),
        ("s3://shop/" + "x" * 1024, Ref("shop", "x" * 1024)),
    ],
)
def test_a_uri_is_taken_literally_and_written_back_the_same(uri: str, ref: Ref) -> None:
    assert naming.parse_uri(uri) == ref
    assert str(ref) == uri


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        ("", "not of the form"),
        ("shop/a.jpg", "not of the form"),
        ("S3://shop/a.jpg", "not of the form"),
        ("https://shop/a.jpg", "not of the form"),
        ("s3://shop", "not of the form"),
        ("s3:///a.jpg", "not of the form"),
        ("s3://Shop/a.jpg", "not of the form"),
        ("s3://sh/a.jpg", "not of the form"),
        ("s3://-shop/a.jpg", "not of the form"),
        ("s3://shop_1/a.jpg", "not of the form"),
        ("s3://user@shop/a.jpg", "not of the form"),
        (f"s3://{'b' * 64}/a.jpg", "not of the form"),
        (" s3://shop/a.jpg", "not of the form"),
        ("s3://shop/" + "x" * 1025, "longer than 1024 bytes"),
        ("s3://shop/" + "ü" * 513, "longer than 1024 bytes"),
        ("s3://shop/a\nb", "control character"),
        ("s3://shop/a\x00", "control character"),
        ("s3://shop/a\x7f", "control character"),
        ("s3://shop/a\n", "control character"),
        ("s3://shop//a", "segment"),
        ("s3://shop/a//b", "segment"),
        ("s3://shop/a//", "segment"),
        ("s3://shop//", "segment"),
        ("s3://shop/.", "segment"),
        ("s3://shop/./a", "segment"),
        ("s3://shop/a/..", "segment"),
        ("s3://shop/a/../b", "segment"),
        ("s3://shop/../jobs/x.yaml", "segment"),
    ],
)
def test_a_uri_that_could_mean_two_things_is_refused(uri: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        naming.parse_uri(uri)


@given(st.text(alphabet="a./\n\x7f é", max_size=12))
def test_a_keys_fault_is_the_same_as_segment_by_segment(key: str) -> None:
    segments = key.split("/")
    odd = any(s in (".", "..") for s in segments) or "" in segments[:-1]
    control = any(ord(c) < 0x20 or ord(c) == 0x7F for c in key)
    assert bool(naming.key_fault(key)) == (odd or control)


@pytest.mark.parametrize(
    ("key", "folder", "below"),
    [
        ("a/b", "a/", True),
        ("a/b", "a", True),
        ("a/", "a/", True),
        ("a", "a/", True),
        ("a-evil/b", "a", False),
        ("a-evil/", "a/", False),
        ("anything", "", True),
        ("", "a/", False),
        ("b/a/", "a/", False),
    ],
)
def test_below_means_in_the_folder_not_with_a_like_beginning(key: str, folder: str, below: bool) -> None:
    assert naming.is_below(Ref("shop", key), Ref("shop", folder)) is below
    assert not naming.is_below(Ref("other", key), Ref("shop", folder))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("jobs/spring.yaml", "spring"),
        ("jobs/spring.yml", "spring"),
        ("jobs/spring.json", "spring"),
        ("jobs/a.b.yaml", "a.b"),
        ("jobs/a.yaml.yaml", "a.yaml"),
        ("jobs/Not Good.yaml", "Not Good"),
        ("jobs/", None),
        ("jobs/.yaml", None),
        ("jobs/spring", None),
        ("jobs/spring.txt", None),
        ("jobs/spring.YAML", None),
        ("jobs/spring.cancel", None),
        ("jobs/spring.yaml/", None),
        ("jobs/shop/spring.yaml", "shop/spring"),
        ("jobs/Not Good/spring.yaml", "Not Good/spring"),
        ("jobs/shop/spring.cancel", None),
        ("jobs/shop/deeper/spring.yaml", None),
        ("jobs/shop/.yaml", None),
        ("jobs//spring.yaml", None),
        ("jobs/../spring.yaml", None),
        ("jobs/./spring.yaml", None),
        ("jobs/a\nb/spring.yaml", None),
    ],
)
def test_a_manifest_is_a_file_in_the_inbox_with_a_known_suffix(key: str, name: str | None) -> None:
    assert naming.manifest_name(key) == name


def test_a_run_is_told_apart_by_name_time_and_bytes_and_nothing_else() -> None:
    base = naming.run_id("spring", b"manifest", NOW)
    others = {
        naming.run_id("summer", b"manifest", NOW),
        naming.run_id("spring", b"manifest ", NOW),
        naming.run_id("spring", b"manifest", NOW + timedelta(seconds=1)),
    }
    assert base not in others
    assert len(others) == 3
    assert re.fullmatch(r"[0-9a-f]{16}", base)
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert naming.run_id("spring", b"manifest", elsewhere) == base
    assert naming.run_id("spring", b"manifest", NOW.replace(microsecond=999_999)) == base


def test_a_runs_identity_never_changes_between_versions() -> None:
    submitted_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert naming.run_id("spring", b"manifest", submitted_at) == "51d8c0a6d2ad4d5d"


names = st.from_regex(DNS_LABEL, fullmatch=True)


@given(names)
@example("a" * 35 + "-b")
@example("a" * 63)
def test_a_job_name_leaves_room_for_its_pods_names_and_is_a_dns_label(name: str) -> None:
    job = naming.job_name(name, RUN)
    assert len(job) <= 57
    assert DNS_LABEL.fullmatch(job)
    assert "--" not in job.removesuffix(RUN)[-2:]


def test_two_names_that_are_shortened_alike_still_have_two_jobs() -> None:
    names = ["x" * 62 + "a", "x" * 62 + "b"]
    jobs = {naming.job_name(n, naming.run_id(n, b"manifest", NOW)) for n in names}
    assert len(jobs) == 2


@pytest.mark.parametrize(
    ("relative", "image_format", "path"),
    [
        ("a.jpg", "jpeg", "a.jpg"),
        ("sub/a.JPEG", "jpeg", "sub/a.JPEG"),
        ("a.png", "jpeg", "a.png.jpg"),
        ("a.jpg", "png", "a.jpg.png"),
        ("a.PNG", "png", "a.PNG"),
        ("a.webp", "webp", "a.webp"),
        ("a", "webp", "a.webp"),
        ("v1.2/a", "png", "v1.2/a.png"),
        ("jpg", "jpeg", "jpg.jpg"),
        ("sub.jpg/a", "jpeg", "sub.jpg/a.jpg"),
    ],
)
def test_a_result_keeps_its_pictures_path_and_gets_a_suffix_where_it_needs_one(
    relative: str, image_format: str, path: str
) -> None:
    assert naming.output_path(relative, image_format) == path


paths = st.text(alphabet="aAjJpPgGeEnNwWbB./", min_size=1, max_size=12) | st.sampled_from(
    ["a.jpg", "a.jpeg", "a.png", "a.JPG", "a.png.jpg", "a", "a.webp"]
)


@given(paths, paths, st.sampled_from(["jpeg", "png", "webp"]))
def test_two_pictures_meet_in_one_result_only_where_one_is_called_like_the_others_result(
    one: str, other: str, image_format: str
) -> None:
    assume(one != other)
    result = naming.output_path(one, image_format)
    if result == naming.output_path(other, image_format):
        assert result in (one, other)  # refused when planning: test_plan


def test_the_keys_of_a_run_lie_where_the_readme_says() -> None:
    assert naming.plan_key("spring", "r1") == "runs/spring/r1/plan.json"
    assert naming.shard_key("spring", "r1", 42, "ab" * 32) == "runs/spring/r1/shards/00042-abababababab.jsonl"
    assert naming.receipts_key("spring", "r1", 42, "pod-7", 3) == "runs/spring/r1/receipts/00042/pod-7-00003.jsonl"
    assert naming.report_key("spring", "r1") == "runs/spring/r1/report.json"
    assert naming.status_key("spring") == "status/spring.json"
    assert naming.cancel_key("spring") == "jobs/spring.cancel"
    assert naming.style_cache_key("ab") == "cache/style/ab"


def test_one_runs_receipts_are_not_found_under_another_whose_name_begins_alike() -> None:
    key = naming.receipts_key("spring-2", "r1", 1, "pod", 0)
    assert not key.startswith(naming.run_prefix("spring", "")[:-1])
    assert not naming.receipts_key("spring", "r1", 12345, "p", 0).startswith(
        naming.shard_receipts_prefix("spring", "r1", 1234)
    )


@pytest.mark.parametrize(
    ("relative", "mask"),
    [
        ("a.jpg", "a.png"),
        ("sub/a.b.JPG", "sub/a.b.png"),
        ("a.png", "a.png"),
        ("a", "a.png"),
        ("sub.d/a", "sub.d/a.png"),
        (".hidden", ".hidden.png"),
        ("sub/.hidden.jpg", "sub/.hidden.png"),
    ],
)
def test_the_mask_of_a_picture_is_at_its_path_as_png(relative: str, mask: str) -> None:
    assert naming.mask_path(relative) == mask


def test_the_start_of_a_picture_has_its_own_name_or_another_suffix() -> None:
    assert naming.start_paths("sub/a.JPG") == (
        "sub/a.JPG",
        "sub/a.JPG.png",
        "sub/a.JPG.webp",
        "sub/a.png",
        "sub/a.jpg",
        "sub/a.jpeg",
        "sub/a.webp",
        "sub/a.tif",
        "sub/a.tiff",
    )


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("relative", ["sub/a.png", "a.JPG", "a.webp", "a.tif"])
def test_the_results_of_an_earlier_run_can_be_painted_over(relative: str, image_format: str) -> None:
    paths = naming.start_paths(relative)
    assert paths[0] == relative
    assert naming.output_path(relative, image_format) in paths


def test_the_checkpoint_of_a_task_is_in_a_folder_of_the_services_own() -> None:
    assert naming.checkpoint_key("ab") == "checkpoints/ab"
    assert naming.attempt_key("spring", "0123", 42, "sf-spring-42-x") == "attempts/spring/0123/00042/sf-spring-42-x"
    assert naming.checkpoint_key("ab").startswith(naming.OWN_PREFIXES)


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("runs/spring/01ab/receipts/00042/sf-spring-01ab-42-xyz-00007.jsonl", ("01ab", 42, False)),
        ("runs/spring/01ab/done/00042-sf-spring-01ab-42-xyz.jsonl", ("01ab", 42, True)),
        ("runs/spring/01ab/plan.json", None),
        ("runs/spring/01ab/shards/00042-0123456789ab.jsonl", None),
        ("runs/spring/01ab/receipts/notes.txt", None),
        ("runs/spring/01ab/receipts/123456789012345678901/x.jsonl", None),
        ("runs/spring/autumn/01ab/receipts/00042/pod-00007.jsonl", None),
        ("runs/spring/receipts/00042/01ab/plan.json", None),
        ("runs/spring/done/01ab/plan.json", None),
    ],
)
def test_what_tells_of_finished_tasks_is_known_by_its_place(key: str, part: tuple[str, int, bool] | None) -> None:
    assert naming.part_of("spring", key) == part


def test_the_keys_of_finished_tasks_are_known_again_also_of_a_manifest_called_receipts() -> None:
    for name in ("receipts", "done", "design/receipts"):
        assert naming.part_of(name, naming.receipts_key(name, "01ab", 7, "pod-x", 3)) == ("01ab", 7, False)
        assert naming.part_of(name, naming.done_key(name, "01ab", 7, "pod-x")) == ("01ab", 7, True)
        assert naming.part_of(name, naming.plan_key(name, "01ab")) is None
