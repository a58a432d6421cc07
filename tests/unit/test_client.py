"""Programs build, submit and wait as the command line does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import stylefleet
from stylefleet import Client, ManifestInvalid, Phase, Status, StyleJob, following, naming, status
from stylefleet import manifest as manifests
from stylefleet.errors import NotFound, SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, manifest_bytes, manifest_data

STYLE = "s3://shop/styles/waves.jpg"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("service", clock=lambda: NOW)


@pytest.fixture
def client(store: MemoryStore) -> Client:
    return Client(bucket="service", store=store)


def job(name: str = "spring") -> StyleJob:
    return StyleJob.build(name=name, content="s3://shop/catalog/", styles=[STYLE], output=f"s3://shop/restyled/{name}/")


def answer(store: MemoryStore, name: str, run: str, phase: Phase) -> None:
    said = Status(name=name, run=run, phase=phase, pictures=3, done=2, failed=1)
    store.put(Ref("service", naming.status_key(name)), status.to_json(said))


def test_importing_the_package_imports_nothing_of_others() -> None:
    heavy = "{'boto3', 'pydantic', 'numpy', 'yaml', 'tensorflow'}"
    code = f"import sys, stylefleet; print(sorted({heavy} & set(sys.modules)), 'Client' in dir(stylefleet))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"


def test_the_client_loads_no_tensorflow() -> None:
    code = "import sys; from stylefleet import Client, StyleJob; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_name_that_the_package_promises_is_there_and_typed() -> None:
    stub = Path(stylefleet.__file__).with_suffix(".pyi").read_text()
    for name in stylefleet.__all__:
        assert getattr(stylefleet, name) is not None
        assert f" as {name}\n" in stub or f"{name}: " in stub
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        stylefleet.Clinet  # noqa: B018


def test_parts_may_be_short_or_have_all_their_fields() -> None:
    long = StyleJob.build(
        name="spring",
        content={"prefix": "s3://shop/catalog/", "exclude": ["*draft*"]},
        styles=[{"image": STYLE, "weight": 0.7}, "s3://shop/styles/b.jpg"],
        output={"prefix": "s3://shop/out/", "format": "png"},
        recipe={"size": 640, "contentWeight": 2000, "start": "picture"},
        run={"resources": {"gpu": 0}},
        protect="s3://shop/masks/",
        start="s3://shop/starts/",
    )
    assert long.manifest == manifests.parse(
        b"""
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata: {name: spring}
spec:
  content: {prefix: s3://shop/catalog/, exclude: ["*draft*"]}
  styles: [{image: s3://shop/styles/waves.jpg, weight: 0.7}, {image: s3://shop/styles/b.jpg}]
  output: {prefix: s3://shop/out/, format: png}
  recipe: {size: 640, contentWeight: 2000, start: picture}
  run: {resources: {gpu: 0}}
  protect: s3://shop/masks/
  start: s3://shop/starts/
""",
        name="spring",
    )


def test_pictures_may_be_named_one_by_one_in_any_script() -> None:
    keys = ["s3://shop/кошка 猫.jpg", "s3://shop/yes", "s3://shop/1.jpg"]
    made = StyleJob.build(name="on", content=keys, styles=[STYLE], output="s3://shop/new/")
    assert made.manifest.spec.content.keys == keys
    assert made.name == "on"


def test_a_part_that_stands_there_twice_is_no_alias() -> None:
    layers = {"block1_conv1": 1.0, "block4_conv2": 1.0}
    recipe = {"contentLayers": layers, "styleLayers": layers}
    made = StyleJob.build(
        name="spring", content="s3://shop/catalog/", styles=[STYLE], output="s3://shop/new/", recipe=recipe
    )
    assert b"&" not in made.data


def test_what_is_wrong_is_told_at_once_and_without_the_lines_of_a_file_that_nobody_wrote() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        StyleJob.build(
            name="Spring!", content="s3://shop/catalog", styles=[STYLE], output="s3://shop/new/", recipe={"size": 9000}
        )
    errors = caught.value.errors
    assert [e.path for e in errors] == ["metadata.name", "spec.content.prefix", "spec.recipe.size"]
    assert {e.line for e in errors} == {None}


def test_what_no_manifest_can_hold_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        StyleJob.build(name="a", content="s3://b-c/d/", styles=[STYLE], output="s3://b-c/e/", recipe={"size": object()})


def test_a_file_goes_into_the_inbox_byte_by_byte(client: Client, store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text("# mine\n" + yaml.safe_dump(manifest_data("spring")))
    client.submit(StyleJob.read(path))
    assert store.get(Ref("service", "jobs/spring.yaml")).data == path.read_bytes()


def test_submit_says_the_run_that_the_controller_will_speak_of(client: Client, store: MemoryStore) -> None:
    run = client.submit(job())
    put = store.get(Ref("service", "jobs/spring.yaml"))
    assert run == naming.run_id("spring", put.data, put.modified_at)


def test_submit_takes_the_cancel_marker_of_an_earlier_run_away(client: Client, store: MemoryStore) -> None:
    client.submit(job())
    client.cancel("spring")
    marker = Ref("service", "jobs/spring.cancel")
    assert [o.ref for o in store.list(marker)] == [marker]
    client.submit(job())
    assert list(store.list(marker)) == []


def test_submit_refuses_a_second_file_of_one_name(client: Client, store: MemoryStore) -> None:
    store.put(Ref("service", "jobs/spring.json"), manifest_bytes("spring"))
    with pytest.raises(SettingsInvalid, match="has this name already"):
        client.submit(job())


def test_cancelling_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="spring: no manifest"):
        client.cancel("spring")


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.final])
def test_wait_gives_the_last_status_whatever_the_end(client: Client, store: MemoryStore, phase: Phase) -> None:
    answer(store, "spring", client.submit(job()), phase)
    assert client.wait("spring").phase is phase
    assert client.status("spring").phase is phase


def test_wait_goes_by_the_newest_submission_and_not_by_an_older_ones_end(
    client: Client, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = client.submit(job())
    answer(store, "spring", "an-older-run", Phase.SUCCEEDED)
    phases = iter([Phase.PENDING, Phase.RUNNING, Phase.FAILED])
    monkeypatch.setattr(following.time, "sleep", lambda _: answer(store, "spring", run, next(phases)))
    assert [found.phase for found in client.follow("spring")] == [Phase.PENDING, Phase.RUNNING, Phase.FAILED]


def test_waiting_for_a_run_that_a_newer_one_replaced_ends(
    client: Client, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.submit(job())
    answer(store, "spring", "newer", Phase.RUNNING)
    monkeypatch.setattr(following.time, "sleep", lambda _: None)
    with pytest.raises(NotFound, match="no controller has answered"):
        client.wait("spring", run="older")


def test_waiting_for_a_name_that_nobody_knows_is_not_found_at_once(client: Client) -> None:
    with pytest.raises(NotFound, match="nobody: no status"):
        client.wait("nobody")


def test_a_tenants_client_speaks_of_its_own_folder(store: MemoryStore) -> None:
    client = Client(bucket="service", tenant="art", store=store)
    run = client.submit(job())
    assert [o.ref.key for o in store.list(Ref("service", "jobs/"))] == ["jobs/art/spring.yaml"]
    answer(store, "art/spring", run, Phase.SUCCEEDED)
    assert client.wait("spring").name == "art/spring"
    client.cancel("spring")
    assert list(store.list(Ref("service", "jobs/art/spring.cancel")))


def test_the_environment_names_the_service_where_the_program_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STYLEFLEET_BUCKET", raising=False)
    with pytest.raises(SettingsInvalid, match="STYLEFLEET_BUCKET is not set"):
        Client()
    monkeypatch.setenv("STYLEFLEET_BUCKET", "from-the-environment")
    assert Client(store=MemoryStore()).bucket == "from-the-environment"
    assert Client(bucket="named", store=MemoryStore()).bucket == "named"
