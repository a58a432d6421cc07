"""The commands as people type them: text, exit codes, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from stylefleet.naming import Ref
from tests.fleet import Fleet, picture

pytestmark = pytest.mark.timeout(900)


def stylefleet(fleet: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**fleet.s3.process_environment(os.environ), **fleet.environment, "STYLEFLEET_BUCKET": fleet.bucket}
    command = [sys.executable, "-m", "stylefleet.cli.main", *arguments]
    return subprocess.run(
        command, env=environment | {"COLUMNS": "200"}, capture_output=True, text=True, check=False, cwd=fleet.folder
    )


def test_submit_and_wait_follow_a_run_to_its_end_and_say_how_it_ended(fleet: Fleet) -> None:
    fleet.put("catalog/good.jpg", picture(seed=1))
    fleet.put("catalog/bad.jpg", b"not a picture")
    (fleet.folder / "spring.yaml").write_bytes(fleet.manifest("spring"))
    fleet.start()

    done = stylefleet(fleet, "submit", "spring.yaml", "--wait")

    assert done.returncode == 3, done.stderr
    assert "PartiallySucceeded" in done.stdout
    assert "1 done, 1 failed" in done.stdout
    assert f"submitted s3://{fleet.bucket}/jobs/spring.yaml" in done.stderr
    again = stylefleet(fleet, "status", "spring", "-o", "json")
    assert json.loads(again.stdout)["phase"] == "PartiallySucceeded"
    assert stylefleet(fleet, "wait", "spring").returncode == 3


def test_a_wrong_manifest_is_told_with_its_places_and_goes_nowhere(fleet: Fleet) -> None:
    (fleet.folder / "wrong.yaml").write_bytes(fleet.manifest("wrong", recipe={"preset": "drafft"}, ouput={}))

    for command in ("validate", "submit"):
        done = stylefleet(fleet, command, "wrong.yaml")
        assert done.returncode == 2
        assert "error: spec.recipe.preset: the value is not one of the choices" in done.stderr
        assert "did you mean draft?" in done.stderr
        assert "error: spec.ouput: there is no such field" in done.stderr
        assert "wrong.yaml:1:" in done.stderr
    assert stylefleet(fleet, "status", "wrong").returncode == 4


def test_a_new_user_comes_from_a_bucket_to_pictures_in_a_folder(fleet: Fleet) -> None:
    for number in range(3):
        fleet.put(f"catalog/{number}.jpg", picture(seed=number))
    fleet.put("runs/of/old/report.json", b"{}")

    assert stylefleet(fleet, "init", "first.yaml").returncode == 0
    text = (fleet.folder / "first.yaml").read_text()
    assert "3 pictures were found here" in text
    assert f"s3://{fleet.bucket}/styles/style.jpg" in text
    small = text.replace("size: 512", "size: 48").replace("preset: balanced", "preset: draft")
    (fleet.folder / "first.yaml").write_text(small)
    fleet.start()
    done = stylefleet(fleet, "submit", "first.yaml", "--wait")
    assert done.returncode == 0, done.stderr

    listed = stylefleet(fleet, "list").stdout.splitlines()
    assert listed[1].split()[:4] == ["first", "Succeeded", "3", "0"]
    assert stylefleet(fleet, "results", "first", "-o", "name").stdout == "0.jpg\n1.jpg\n2.jpg\n"
    for fetched in (3, 0):
        done = stylefleet(fleet, "results", "first", "--sync", "out")
        assert done.returncode == 0, done.stderr
        assert f"{fetched} fetched into out" in done.stderr
    for number in range(3):
        with Image.open(fleet.folder / f"out/{number}.jpg") as result:
            assert max(result.size) == 48
    logs = stylefleet(fleet, "logs", "first")
    assert "shard_started" in logs.stdout, logs.stderr


def test_a_good_manifest_is_valid_without_any_bucket(fleet: Fleet) -> None:
    (fleet.folder / "any-file.yaml").write_bytes(fleet.manifest("spring"))
    done = stylefleet(fleet, "validate", "any-file.yaml")
    assert (done.returncode, done.stdout) == (0, "spring: valid\n")


def test_cancel_needs_a_manifest_and_leaves_a_marker(fleet: Fleet) -> None:
    assert stylefleet(fleet, "cancel", "nobody").returncode == 4
    fleet.submit("spring")
    assert stylefleet(fleet, "cancel", "spring").returncode == 0
    assert any(o.ref.key == "jobs/spring.cancel" for o in fleet.store.list(_inbox(fleet)))


def test_one_look_without_hands_says_what_would_be_done_and_changes_nothing(fleet: Fleet) -> None:
    fleet.put("catalog/one.jpg", picture())
    fleet.submit("spring")
    before = [(o.ref, o.etag) for o in fleet.store.list(_inbox(fleet)._replace(key=""))]

    done = stylefleet(fleet, "controller", "--once", "--dry-run")

    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert "would_create_job" in {e["event"] for e in events}
    assert [(o.ref, o.etag) for o in fleet.store.list(_inbox(fleet)._replace(key=""))] == before


def test_one_picture_is_restyled_without_any_service(fleet: Fleet) -> None:
    (fleet.folder / "photo.jpg").write_bytes(picture(60, 40, seed=1))
    (fleet.folder / "style.png").write_bytes(picture(64, 64, seed=2, image_format="PNG"))

    arguments = ("stylize", "photo.jpg", "style.png")
    done = stylefleet(fleet, *arguments, "out.png", "--size", "48", "--preset", "draft", "--seed", "3")

    assert done.returncode == 0, done.stderr
    with Image.open(fleet.folder / "out.png") as result:
        assert result.size == (48, 32)
    assert "vgg16-hed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("photo.jpg", "nothing.jpg", "out.jpg"), 4, "nothing.jpg: no such file"),
        (("photo.jpg", "photo.jpg", "out.gif"), 2, "found suffix '.gif', allowed are .jpg, .jpeg, .png, .webp"),
        (("photo.jpg", "photo.jpg", "out.jpg", "--preset", "best"), 2, "--preset: found 'best', allowed: 'draft', "),
        (
            ("photo.jpg", "photo.jpg", "out.jpg", "--size", "9"),
            2,
            "--size: found 9, allowed: greater than or equal to 16",
        ),
        (("broken.jpg", "photo.jpg", "out.jpg"), 2, "broken.jpg: "),
    ],
)
def test_what_cannot_be_restyled_is_told_in_one_line(
    fleet: Fleet, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (fleet.folder / "photo.jpg").write_bytes(picture())
    (fleet.folder / "broken.jpg").write_bytes(picture()[:200])
    done = stylefleet(fleet, "stylize", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_manifests_recipe_is_tried_on_one_picture(fleet: Fleet) -> None:
    (fleet.folder / "photo.jpg").write_bytes(picture(60, 40, seed=1))
    (fleet.folder / "style.png").write_bytes(picture(64, 64, seed=2, image_format="PNG"))
    (fleet.folder / "mask.png").write_bytes(picture(60, 40, seed=3, image_format="PNG"))
    (fleet.folder / "try.yaml").write_text(
        "apiVersion: stylefleet.dev/v1\nkind: StyleJob\nmetadata: {name: try}\nspec:\n"
        "  start: s3://shop/start.jpg\n  content: {prefix: s3://shop/c/}\n  styles: [{image: s3://shop/s.jpg}]\n"
        "  output: {prefix: s3://shop/o/, format: png, depth: 16}\n"
        "  recipe: {size: 48, scales: [{size: 48, iterations: 3}], colors: luminance, start: picture,\n"
        "    refine: [{box: [0.2, 0.2, 0.8, 0.8], iterations: 2}]}\n"
    )
    arguments = ("photo.jpg", "style.png", "out.png", "--manifest", "try.yaml", "--protect", "mask.png")
    done = stylefleet(fleet, "stylize", *arguments, "--start", "style.png", "--also", "photo.jpg")
    assert done.returncode == 0, done.stderr
    assert (fleet.folder / "out.png").read_bytes()[24] == 16  # bit depth in IHDR
    assert "5 steps" in done.stderr
    done = stylefleet(fleet, "stylize", *arguments)
    assert done.returncode == 2
    assert "--start goes with a recipe that says start: picture" in done.stderr
    masked = (fleet.folder / "try.yaml").read_text().replace("s.jpg}", "s.jpg, mask: s3://shop/m/}")
    (fleet.folder / "try.yaml").write_text(masked)
    done = stylefleet(fleet, "stylize", *arguments, "--start", "style.png")
    assert done.returncode == 2
    assert "try.yaml: found masks, which are in a bucket" in done.stderr


def test_missing_settings_are_named(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STYLEFLEET_")}
    command = [sys.executable, "-m", "stylefleet.cli.main", "controller", "--once"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "stylefleet: STYLEFLEET_BUCKET is not set"


def _inbox(fleet: Fleet) -> Ref:
    return Ref(fleet.bucket, "jobs/")


def test_the_doctor_passes_a_laptop_where_all_is_well(fleet: Fleet) -> None:
    done = stylefleet(fleet, "doctor", "--wait-seconds", "400")

    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()[1:]}
    assert [id for id, outcome in outcomes.items() if outcome == "skipped"] == ["rbac", "queue", "schedulable", "image"]
    assert outcomes["engine"] == "ok"
    assert [o.ref.key for o in fleet.store.list(Ref(fleet.bucket, ""))] == ["styles/style.jpg"], "it leaves nothing"
