"""`init` gives a manifest that is valid as it is; `explain` says what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylefleet import manifest as manifests
from stylefleet.cli import explain
from stylefleet.cli import init as command
from stylefleet.cli.explain import Field
from stylefleet.errors import SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, jpeg_bytes
from tests.command_line import Type, typing_for


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("shop", clock=lambda: NOW)


@pytest.fixture
def typed(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    return typing_for(store, monkeypatch, capsys, bucket="shop")


def put(store: MemoryStore, *keys: str) -> None:
    for key in keys:
        store.put(Ref("shop", key), jpeg_bytes() if key.endswith(".jpg") else b"")


def test_init_names_the_pictures_and_styles_of_the_bucket_and_is_valid_as_it_is(
    store: MemoryStore, typed: Type, tmp_path: Path
) -> None:
    put(store, "a.txt", "catalog/1.jpg", "catalog/deep/2.jpg", "other/1.jpg", "styles/waves.jpg", "styles/zen.jpg")
    path = tmp_path / "spring.yaml"
    assert typed("init", str(path)).code == 0
    found = manifests.parse(path.read_bytes(), name="spring", service_bucket="shop")
    assert found.spec.content.prefix == "s3://shop/catalog/"
    assert [style.image for style in found.spec.styles] == ["s3://shop/styles/waves.jpg"]
    assert "s3://shop/styles/zen.jpg" in path.read_text()
    assert "EDIT" not in path.read_text()
    assert typed("validate", str(path)).code == 0
    assert typed("plan", str(path)).code == 0


def test_init_prints_where_no_file_is_named_and_nothing_else_goes_to_stdout(store: MemoryStore, typed: Type) -> None:
    answer = typed("init", "--name", "summer")
    assert manifests.parse(answer.out.encode(), name="summer").metadata.name == "summer"
    assert "EDIT" in answer.out
    assert "no folder with pictures" in answer.err
    assert "no folder with styles" in answer.err


def test_init_overwrites_nothing(store: MemoryStore, typed: Type, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    assert typed("init", str(tmp_path / "mine.yaml")).code == 2
    assert (tmp_path / "mine.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["No Name", "../x", ""])
def test_init_refuses_a_name_that_no_run_can_have(typed: Type, name: str) -> None:
    answer = typed("init", "--name", name) if name else typed("init", "no/Spaces Here.yaml")
    assert answer.code == 2
    assert "lower-case letters" in answer.err


def test_init_takes_no_key_that_a_manifest_could_not_name(store: MemoryStore, typed: Type) -> None:
    put(store, "styles/a\x1b[2J.jpg", 'styles/b": x # .jpg', "catalog/../1.jpg", "runs/x/y/1.jpg", "cat: {/1.jpg")
    answer = typed("init")
    found = manifests.parse(answer.out.encode(), name="first-run")
    assert found.spec.styles[0].image == 's3://shop/styles/b": x # .jpg'
    assert found.spec.content.prefix == "s3://shop/cat: {/"


def test_init_looks_at_so_many_objects_at_the_most(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "OBJECTS_MAX", 3)
    put(store, *(f"catalog/{n}.jpg" for n in range(9)), *(f"runs/a/{n}" for n in range(9)), "styles/a.jpg")
    looked_at: list[str] = []
    plain = store.list

    def counted(prefix: Ref, *, after: str = ""):  # type: ignore[no-untyped-def]
        for listed in plain(prefix, after=after):
            looked_at.append(listed.ref.key)
            yield listed

    monkeypatch.setattr(store, "list", counted)
    found = command.survey(store, "shop")
    assert (found.content, found.pictures, found.styles) == ("catalog/", 3, ("styles/a.jpg",))
    assert len(looked_at) < 10


def every_field(field: Field) -> list[Field]:
    below = [every_field(explain.find(one.path)) for one in field.fields]
    return [field, *(one for fields in below for one in fields)]


def test_every_field_of_the_models_is_explained(typed: Type) -> None:
    fields = every_field(explain.find(""))
    assert len(fields) > 50
    for field in fields:
        answer = typed("explain", field.path) if field.path else typed("explain")
        assert answer.code == 0
        assert field.description in " ".join(answer.out.split())


def test_a_field_is_told_with_type_default_and_limits(typed: Type) -> None:
    assert typed("explain", "spec.recipe.size").out.splitlines()[:4] == [
        "field    spec.recipe.size",
        "type     whole number",
        "default  512",
        "allowed  at least 16, at most 8,192",
    ]
    assert "draft, balanced, fine, impressionist, portrait" in typed("explain", "spec.recipe.preset").out
    assert "more than 0, at most 1,000" in typed("explain", "spec.styles[0].weight").out
    assert "the field is required" in typed("explain", "spec.output.prefix").out


def test_a_field_that_is_not_there_is_told_with_the_nearest_spelling() -> None:
    with pytest.raises(SettingsInvalid, match=r"did you mean spec\.recipe\.size\?"):
        explain.find("spec.recipe.sise")
    with pytest.raises(SettingsInvalid, match=r"spec\.recipe\.size has no fields"):
        explain.find("spec.recipe.size.x")
