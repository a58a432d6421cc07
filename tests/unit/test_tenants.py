"""Tenants share an inbox, a controller and a cluster, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import following, naming, tenants
from stylefleet import manifest as manifests
from stylefleet.cli import bucket as commands
from stylefleet.cli import markers
from stylefleet.cluster_namespaces import NamespacedCluster
from stylefleet.errors import (
    AccessDenied,
    ClusterUnavailable,
    ExitCode,
    ManifestInvalid,
    NotFound,
    SettingsInvalid,
)
from stylefleet.jobs import job_for
from stylefleet.naming import Ref
from stylefleet.policies.admission import Limits
from stylefleet.retire import retire
from stylefleet.settings import controller_settings
from stylefleet.status import Phase
from tests.builders import NOW, RUN, TEMPLATE, make_plan, manifest_bytes
from tests.fake_cluster import FakeCluster
from tests.iam import allows, grants
from tests.world import World

ART = {"name": "art", "allowed": ["s3://shop/art/"], "namespace": "art-jobs"}
TOYS = {"name": "toys", "allowed": ["s3://shop/toys/", "s3://pictures/"]}
NAMES = st.from_regex(naming.NAME_PATTERN, fullmatch=True)


def parsed(*records: dict[str, Any]) -> tenants.Tenants:
    return tenants.parse(json.dumps(records), service_bucket="service")


# --- the operator's list --------------------------------------------------------------------------------------------


def test_the_list_says_who_may_use_what_and_where_their_jobs_are() -> None:
    both = parsed(ART, TOYS)
    assert tenants.allowed_for("art/spring", both, everybody=()) == (Ref("shop", "art/"),)
    assert tenants.allowed_for("toys/spring", both, everybody=()) == (Ref("shop", "toys/"), Ref("pictures", ""))
    assert tenants.namespace_for("art/spring", both, default="fleet") == "art-jobs"
    assert tenants.namespace_for("toys/spring", both, default="fleet") == "fleet"
    assert tenants.namespaces(both, default="fleet") == ("fleet", "art-jobs")


def test_without_a_list_all_is_as_ever() -> None:
    assert tenants.allowed_for("spring", {}, everybody=(Ref("shop", ""),)) == (Ref("shop", ""),)
    assert tenants.namespaces({}, default="fleet") == ("fleet",)
    assert tenants.concerns("spring", {})
    assert not tenants.concerns("folder/spring", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "not JSON"),
        ("{}", "valid list"),
        ('[{"name": "art"}]', r"\[0\].allowed: this field is required"),
        ('[{"name": "Art", "allowed": ["s3://shop/"]}]', r"\[0\].name: the name is not usable \(found: 'Art'\)"),
        ('[{"name": "a/b", "allowed": ["s3://shop/"]}]', r"\[0\].name: the name is not usable"),
        ('[{"name": "art", "allowed": []}]', r"\[0\].allowed"),
        ('[{"name": "art", "allowed": ["shop"]}]', r"\[0\].allowed\[0\]: not of the form s3://bucket/key"),
        ('[{"name": "art", "allowed": ["s3://shop/"], "namespaces": "x"}]', "did you mean namespace"),
        ('[{"name": "art", "allowed": ["s3://shop/"], "namespace": "Art"}]', r"\[0\].namespace"),
        (json.dumps([ART, ART]), r"a tenant is named twice \(found: art\)"),
    ],
)
def test_a_wrong_list_is_told_by_place_what_was_found_and_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tenants.parse(text, service_bucket="service")


@pytest.mark.parametrize(
    "place", ["s3://service/", "s3://service/jobs/", "s3://service/runs/toys/", "s3://service/status"]
)
def test_no_tenant_is_given_part_of_the_services_own_folders(place: str) -> None:
    with pytest.raises(ValueError, match=f"tenant art: found {place}, which has part in s3://service/"):
        parsed(ART | {"allowed": [place]})
    assert parsed(ART | {"allowed": ["s3://service/pictures-of-art/"]})


def test_the_setting_is_the_list_or_a_file_with_it(tmp_path: Path) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps([ART, TOYS]))
    for value in (json.dumps([ART, TOYS]), str(file)):
        settings = controller_settings({"STYLEFLEET_BUCKET": "service", "STYLEFLEET_TENANTS": value})
        assert settings.tenants == parsed(ART, TOYS)
        assert settings.namespaces == ("default", "art-jobs")
    assert controller_settings({"STYLEFLEET_BUCKET": "service"}).tenants == {}


def test_the_doctor_looks_where_a_tenants_jobs_are() -> None:
    environment = {
        "STYLEFLEET_BUCKET": "service",
        "STYLEFLEET_NAMESPACE": "fleet",
        "STYLEFLEET_LEASE": "fleet",
        "STYLEFLEET_IDENTITY": "pod-1",
    }
    settings = controller_settings(environment | {"STYLEFLEET_TENANTS": json.dumps([ART, TOYS])})
    assert settings.for_tenant("art").worker.namespace == "art-jobs"
    assert settings.for_tenant("art").election is None
    assert settings.for_tenant("toys").worker.namespace == "fleet"
    with pytest.raises(SettingsInvalid, match=r"^--tenant: found 'arts', allowed are art, toys"):
        settings.for_tenant("arts")
    with pytest.raises(SettingsInvalid, match="allowed are none, since STYLEFLEET_TENANTS is not set"):
        controller_settings(environment).for_tenant("art")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"STYLEFLEET_TENANTS": "/no/such/file"}, "^STYLEFLEET_TENANTS: .*No such file"),
        ({"STYLEFLEET_TENANTS": "[{}]"}, r"^STYLEFLEET_TENANTS: \[0\].name: this field is required"),
        (
            {"STYLEFLEET_TENANTS": json.dumps([ART]), "STYLEFLEET_ALLOWED": "s3://shop/"},
            "^STYLEFLEET_ALLOWED: not allowed beside STYLEFLEET_TENANTS",
        ),
    ],
)
def test_an_unusable_setting_is_told(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        controller_settings({"STYLEFLEET_BUCKET": "service"} | environment)


# --- names ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=2, unique=True))
def test_no_two_tenants_meet_in_a_key_a_run_a_job_or_a_label(pairs: list[tuple[str, str]]) -> None:
    one, other = (naming.full_name(*pair) for pair in pairs)
    assert naming.label_of(one) != naming.label_of(other)
    assert naming.status_key(one) != naming.status_key(other)
    runs = [naming.run_id(name, b"manifest", NOW) for name in (one, other)]
    assert runs[0] != runs[1]
    assert naming.job_name(one, runs[0]) != naming.job_name(other, runs[1])
    for mine, its in ((one, other), (other, one)):
        assert not naming.run_prefix(mine, RUN).startswith(naming.run_prefix(its, "")[:-1])


@given(NAMES, NAMES)
def test_a_job_gives_back_whose_it_is(tenant: str, own_name: str) -> None:
    name = naming.full_name(tenant, own_name)
    assert (naming.tenant_of(name), naming.own_name_of(name)) == (tenant, own_name)
    assert naming.name_of_label(naming.label_of(name)) == name
    assert naming.name_of_label(naming.label_of(own_name)) == own_name
    assert naming.NAME_PATTERN.fullmatch(naming.job_name(name, RUN))


def test_a_name_that_is_too_long_beside_its_tenants_is_told_with_the_length_that_is_left() -> None:
    fits, long = f"art/{'n' * 59}", f"art/{'n' * 60}"
    assert manifests.parse(manifest_bytes(naming.own_name_of(fits)), name=fits)
    with pytest.raises(ManifestInvalid, match=r"together they are the value of a label.*59 characters in .*jobs/art/"):
        manifests.parse(manifest_bytes(naming.own_name_of(long)), name=long)


# --- runs -----------------------------------------------------------------------------------------------------------


def spec_of(tenant: str) -> dict[str, Any]:
    return {
        "content": {"prefix": f"s3://shop/{tenant}/catalog/"},
        "styles": [{"image": f"s3://shop/{tenant}/waves.jpg"}],
        "output": {"prefix": f"s3://shop/{tenant}/out/"},
    }


class Shared(World):
    """A world with two tenants, each of which has a style, three pictures and a namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants = parsed(ART, TOYS)
        for tenant in ("art", "toys"):
            self.memory.put(Ref("shop", f"{tenant}/waves.jpg"), self.memory.get(Ref("shop", "styles/waves.jpg")).data)
            for name in "abc":
                self.memory.put(Ref("shop", f"{tenant}/catalog/{name}.jpg"), f"{tenant} {name}".encode())
        self.controller = self.new_controller(tenants=self.tenants)

    def submit_to(self, tenant: str, name: str = "spring", **changes: Any) -> None:
        self.put(f"{tenant}/{name}.yaml", manifest_bytes(name, **(spec_of(tenant) | changes)))

    def namespaces(self) -> dict[str, str]:
        """Of the Jobs, by the manifest's name."""
        return {
            naming.name_of_label(j["metadata"]["labels"][naming.LABEL_NAME]): j["metadata"]["namespace"]
            for j in self.cluster.jobs.values()
        }


@pytest.fixture
def shared() -> Shared:
    return Shared()


def test_two_tenants_may_use_one_name_and_each_gets_its_own_run(shared: Shared) -> None:
    shared.submit_to("art")
    shared.submit_to("toys")
    shared.tick()
    assert shared.namespaces() == {"art/spring": "art-jobs", "toys/spring": "art"}
    shared.cluster.work(name="art/spring")
    shared.cluster.finish(name="art/spring")
    shared.tick(2)
    assert shared.status("art/spring").phase is Phase.SUCCEEDED
    assert shared.status("toys/spring").phase is Phase.RUNNING
    assert sorted(shared.cluster.computed) == [f"art/catalog/{name}.jpg" for name in "abc"]
    assert shared.report("art/spring")["name"] == "art/spring"
    keys = shared.keys("service")
    assert [
        k
        for k in keys
        if not k.startswith(
            ("jobs/", "status/art/", "status/toys/", "runs/art/", "runs/toys/", "cache/timings/art/", "metrics/")
        )
    ] == []


def test_a_marker_or_a_deletion_ends_the_run_of_its_own_tenant_only(shared: Shared) -> None:
    shared.submit_to("art")
    shared.submit_to("toys")
    shared.tick()
    shared.put("art/spring.cancel")
    shared.put("spring.cancel")
    shared.tick(2)
    assert shared.status("art/spring").phase is Phase.CANCELLED
    assert shared.status("toys/spring").phase is Phase.RUNNING
    shared.remove("toys/spring.yaml")
    shared.tick(3)
    assert shared.status("toys/spring").phase is Phase.CANCELLED


@pytest.mark.parametrize("field", ["content", "styles", "output"])
def test_a_tenant_reaches_no_other_tenants_places(shared: Shared, field: str) -> None:
    shared.submit_to("art", **{field: spec_of("toys")[field]})
    shared.tick(2)
    found = shared.status("art/spring")
    assert found.phase is Phase.REJECTED
    (error,) = found.errors
    assert (error.message, error.allowed) == ("this place is not allowed", "s3://shop/art/")
    assert shared.cluster.created == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nobody/spring", "there is no such tenant"),
        ("Art/spring", "there is no such tenant"),
        ("spring", "this inbox has tenants, and the manifest lies in no tenant's folder"),
    ],
)
def test_a_manifest_that_is_nobodys_is_rejected_and_told_of_no_tenants(shared: Shared, name: str, message: str) -> None:
    shared.put(f"{name}.yaml", manifest_bytes("spring", **spec_of("art")))
    shared.tick(2)
    found = shared.status(name)
    assert found.phase is Phase.REJECTED
    assert found.errors[0].message == message
    assert "art" not in str(found.errors[0]).replace(name, "")
    assert shared.cluster.created == []


@pytest.mark.parametrize("key", ["art/deeper/spring.yaml", "../spring.yaml", "/spring.yaml", "./spring.yaml"])
def test_a_key_under_which_no_status_can_be_kept_is_no_manifest(shared: Shared, key: str) -> None:
    shared.put(key, manifest_bytes("spring"))
    before = shared.keys("service")
    shared.tick(2)
    assert shared.keys("service") == before


def test_without_the_setting_folders_of_the_inbox_are_nothing_of_ours() -> None:
    world = World()
    world.put("art/spring.yaml", manifest_bytes("spring"))
    before = world.keys("service")
    world.tick(3)
    assert world.keys("service") == before


def test_a_forgotten_setting_lets_the_tenants_runs_rest_and_cancels_none(shared: Shared) -> None:
    shared.submit_to("art")
    shared.tick()
    shared.controller = shared.new_controller()
    shared.tick(3)
    assert shared.status("art/spring").phase is Phase.RUNNING
    assert len(shared.cluster.jobs) == 1
    shared.controller = shared.new_controller(tenants=shared.tenants)
    shared.cluster.work(name="art/spring")
    shared.cluster.finish(name="art/spring")
    shared.tick(2)
    assert shared.status("art/spring").phase is Phase.SUCCEEDED


def test_a_tenant_that_is_taken_off_the_list_has_no_workers_any_more(shared: Shared) -> None:
    shared.submit_to("toys")
    shared.tick()
    shared.controller = shared.new_controller(tenants=parsed(ART))
    shared.tick(2)
    assert shared.status("toys/spring").phase is Phase.REJECTED
    assert shared.cluster.jobs == {}


def test_a_job_that_somebody_makes_in_another_namespace_is_not_taken_for_the_tenants(shared: Shared) -> None:
    shared.submit_to("toys")
    shared.tick()
    (job,) = shared.cluster.jobs.values()
    # Who makes Jobs in art's namespace writes the name of toys' run on one that has ended, before it is made.
    forged = json.loads(json.dumps(job))
    forged["metadata"] |= {"namespace": "art-jobs", "name": "forged", "uid": "uid-forged"}
    forged["status"] = {"conditions": [{"type": "Failed", "status": "True", "message": "forged"}]}
    shared.cluster.jobs = {"forged": forged}
    shared.tick()
    assert job["metadata"]["name"] in shared.cluster.jobs, "its own Job is made all the same"
    assert shared.status("toys/spring").phase is Phase.RUNNING
    shared.tick(2)
    assert "forged" not in shared.cluster.jobs, "and the other is removed, as it is nobody's"
    assert shared.status("toys/spring").phase is Phase.RUNNING


# --- namespaces -----------------------------------------------------------------------------------------------------


class Split(Shared):
    """The same, with a cluster for each namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.by_namespace = {name: FakeCluster(self.memory, "service") for name in ("art", "art-jobs")}
        self.controller = self.new_controller(tenants=self.tenants, cluster=NamespacedCluster(self.by_namespace))

    def shut(self, namespace: str, error: Exception | None) -> None:
        def before(_method: str, _subject: object) -> None:
            if error is not None:
                raise error

        self.by_namespace[namespace].before = before


def test_each_job_is_made_looked_at_and_removed_in_its_own_namespace() -> None:
    split = Split()
    split.submit_to("art")
    split.submit_to("toys")
    split.tick()
    assert {name: len(cluster.jobs) for name, cluster in split.by_namespace.items()} == {"art": 1, "art-jobs": 1}
    split.put("art/spring.cancel")
    split.by_namespace["art"].waiting = "Unschedulable: no node"
    split.tick(3)
    assert split.by_namespace["art-jobs"].jobs == {}
    assert split.status("art/spring").phase is Phase.CANCELLED
    assert split.status("toys/spring").waiting_because == "Unschedulable: no node"


@pytest.mark.parametrize("error", [AccessDenied("jobs is forbidden"), ClusterUnavailable("no answer")])
def test_a_namespace_that_does_not_answer_holds_up_its_own_tenants_and_no_others(error: Exception) -> None:
    split = Split()
    split.submit_to("art", "running")
    split.submit_to("art", "deleted")
    split.tick()
    split.remove("art/deleted.yaml")
    split.put("art/running.cancel")
    split.shut("art-jobs", error)
    split.submit_to("toys")
    split.tick(3)
    assert split.status("toys/spring").phase is Phase.RUNNING
    for name in ("art/running", "art/deleted"):
        assert split.status(name).phase is Phase.RUNNING, "its workers may be at work: nobody says that it has ended"
    assert split.status("art/running").message == f"held up: {error}"
    split.shut("art-jobs", None)
    split.tick(3)
    assert split.status("art/running").phase is Phase.CANCELLED
    assert split.status("art/deleted").phase is Phase.CANCELLED
    assert split.by_namespace["art-jobs"].jobs == {}


def test_workers_of_a_namespace_that_does_not_answer_still_count() -> None:
    split = Split()
    split.controller = split.new_controller(
        tenants=split.tenants,
        cluster=NamespacedCluster(split.by_namespace),
        limits=Limits(total=2, by_tenant={}, weights={}),
    )
    split.submit_to("art")
    split.tick()
    split.shut("art-jobs", ClusterUnavailable("no answer"))
    split.submit_to("toys")
    split.tick(3)
    assert split.by_namespace["art"].jobs == {}
    assert split.status("toys/spring").waiting_because == "CapReached: 2 of 2 workers are in use"
    split.shut("art-jobs", None)
    split.by_namespace["art-jobs"].work(name="art/spring")
    split.by_namespace["art-jobs"].finish(name="art/spring")
    split.tick(2)
    assert len(split.by_namespace["art"].jobs) == 1


def test_where_no_namespace_answers_the_look_fails() -> None:
    split = Split()
    for namespace in split.by_namespace:
        split.shut(namespace, ClusterUnavailable("no answer"))
    with pytest.raises(ClusterUnavailable):
        split.tick()


def test_retiring_ends_the_jobs_of_every_namespace_and_says_where_it_may_not_look() -> None:
    clusters = {name: FakeCluster(World().memory, "service") for name in ("art", "art-jobs")}
    every = NamespacedCluster(clusters)
    for number, namespace in enumerate(clusters):
        template = replace(TEMPLATE, namespace=namespace)
        every.create_job(job_for(make_plan(run=f"{number:016x}"), template))
    retire(every, "service", namespaces=tuple(clusters), seconds=60)
    assert [cluster.jobs for cluster in clusters.values()] == [{}, {}]

    def denied(_method: str, _subject: object) -> None:
        raise AccessDenied("jobs is forbidden")

    clusters["art-jobs"].before = denied
    with pytest.raises(AccessDenied):
        retire(every, "service", namespaces=tuple(clusters), seconds=60)


# --- the command line -----------------------------------------------------------------------------------------------


def test_the_commands_go_to_a_tenants_folder_and_name_its_manifests_so(
    shared: Shared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "anything.yaml"
    path.write_bytes(manifest_bytes("spring", **spec_of("art")))
    commands.submit(shared.memory, "service", commands.read_manifest(path, "art"), wait_for_end=False)
    assert (
        "submitted s3://service/jobs/art/spring.yaml\nwatch it:  stylefleet wait art/spring" in capsys.readouterr().err
    )
    shared.tick()
    assert following.read_status(shared.memory, "service", "art/spring").phase is Phase.RUNNING
    markers.cancel(shared.memory, "service", "art/spring")
    shared.tick(2)
    assert commands.wait(shared.memory, "service", "art/spring") is ExitCode.CANCELLED
    with pytest.raises(NotFound, match="spring: no status"):
        following.read_status(shared.memory, "service", "spring")


def test_a_tenant_that_cannot_be_one_is_refused_before_anything_is_put(shared: Shared, tmp_path: Path) -> None:
    path = tmp_path / "spring.yaml"
    path.write_bytes(manifest_bytes("spring"))
    with pytest.raises(SettingsInvalid, match=r"^tenant: found 'art/deeper', allowed are"):
        commands.read_manifest(path, "art/deeper")
    assert shared.keys("service") == {}


# --- the example policies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:PutObject", "jobs/{}/spring.yaml"),
        ("s3:PutObject", "jobs/{}/spring.cancel"),
        ("s3:DeleteObject", "jobs/{}/spring.yaml"),
        ("s3:GetObject", "status/{}/spring.json"),
        ("s3:GetObject", "runs/{}/spring/0/report.json"),
    ],
)
def test_a_tenants_users_reach_their_own_folders_and_no_others(action: str, resource: str) -> None:
    granted = grants("tenant-users")
    assert allows(granted, action, "service/" + resource.format("art"))
    assert not allows(granted, action, "service/" + resource.format("toys"))
    assert not allows(granted, action, "service/" + resource.format("art-and-more"))
    folder = resource.partition("/")[0]
    assert allows(granted, "s3:ListBucket", f"service?prefix={folder}/art/spring")
    assert not allows(granted, "s3:ListBucket", f"service?prefix={folder}/toys/spring")
    assert not allows(granted, "s3:ListBucket", f"service?prefix={folder}/")
    assert not allows(granted, "s3:ListBucket", "service")


def test_a_tenants_users_write_nothing_but_manifests_and_markers() -> None:
    granted = grants("tenant-users")
    written = {resource for action, resource in granted if action not in ("s3:GetObject", "s3:ListBucket")}
    assert written == {"arn:aws:s3:::service/jobs/art/*"}


def test_a_tenants_workers_reach_of_the_services_bucket_nothing_of_other_tenants() -> None:
    granted = grants("tenant-worker")
    own = naming.full_name("art", "spring")
    keys = {
        "s3:GetObject": [naming.plan_key(own, RUN), naming.style_cache_key("0", "art")],
        "s3:PutObject": [naming.receipts_key(own, RUN, 0, "a", 0), naming.style_cache_key("0", "art")],
        "s3:DeleteObject": [naming.checkpoint_key("0", "art")],
    }
    for action, own_keys in keys.items():
        for key in own_keys:
            assert allows(granted, action, f"service/{key}")
            assert not allows(granted, action, f"service/{key.replace('art', 'toys', 1)}")
    of_the_service = {resource for _, resource in granted if resource.startswith("arn:aws:s3:::service/")}
    assert all("/art/" in resource for resource in of_the_service)
