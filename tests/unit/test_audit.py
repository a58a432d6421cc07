"""An audit finds every single thing that is missing, changed, doubled or strange, and nothing where all is well."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import naming, plan, receipt, status
from stylefleet.audit import CHECKS, Audit, audit
from stylefleet.audit.findings import SHOWN_MAX
from stylefleet.audit.members import Members, prints
from stylefleet.cli import audit as command
from stylefleet.errors import ExitCode, NotFound, RecordUnreadable, RunUnderWay, SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.plan import ShardEntry
from stylefleet.status import Phase
from stylefleet.tasks import Task, tasks_from_bytes
from tests.builders import make_receipt
from tests.unit.test_tenants import Shared
from tests.world import World

pytestmark = pytest.mark.usefixtures("quiet_logs")

RESULT = Ref("shop", "restyled/spring/a.jpg")
FAR_AWAY = "cd" * 32
"""A task that no run has."""


@pytest.fixture
def world() -> World:
    """With a run that ended: `a` and `c` are done, `b` failed; `a` and `b` are shard 0."""
    world = World()
    world.submit()
    world.work_to_the_end(bad={"catalog/b.jpg": "undecodable"})
    assert world.status().phase is Phase.PARTIALLY_SUCCEEDED
    return world


def audited(world: World, run: str | None = None) -> Audit:
    return audit(world.store, "service", "spring", run=run)


def faults(found: Audit) -> dict[str, int]:
    return {check: count for check, count in found.faults.counts.items() if count}


# --- the hands of others ----------------------------------------------------------------------------------------------


def service(world: World, part: str) -> Ref:
    """The first object of the service's bucket with this in its key."""
    return Ref("service", next(key for key in world.keys("service") if part in key))


def tasks(world: World) -> dict[str, Task]:
    """By content key, of all shards."""
    keys = [key for key in world.keys("service") if "/shards/" in key]
    found = (t for key in keys for t in tasks_from_bytes(world.memory.get(Ref("service", key)).data))
    return {t.content.key: t for t in found}


def edit(world: World, ref: Ref, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads(world.memory.get(ref).data)
    change(document)
    world.memory.put(ref, json.dumps(document).encode())


def receipt_again(world: World, name: str, **changes: object) -> None:
    """The receipt of a picture once more, by another attempt."""
    for key in [key for key in world.keys("service") if "/receipts/" in key]:
        for one in receipt.from_lines(world.memory.get(Ref("service", key)).data):
            if one.content.endswith(f"/{name}.jpg"):
                folder = key.rpartition("/")[0]
                again = replace(one, attempt="zz", **changes)  # type: ignore[arg-type]
                world.memory.put(Ref("service", f"{folder}/zz-00000.jsonl"), receipt.to_lines([again]))
                return


def stranger(world: World, **changes: object) -> None:
    one = make_receipt("catalog/z.jpg", **changes)
    folder = service(world, "/receipts/00000/").key.rpartition("/")[0]
    world.memory.put(Ref("service", f"{folder}/zz-00000.jsonl"), receipt.to_lines([one]))


def put_result(world: World, key: str, data: bytes = b"x", *, task: str | None) -> None:
    metadata = {naming.METADATA_TASK: task} if task else {}
    world.memory.put(Ref("shop", f"restyled/spring/{key}"), data, metadata=metadata)


def forge_plan_with_a_picture_twice(world: World) -> None:
    ref = service(world, "plan.json")
    old = plan.plan_from_json(world.memory.get(ref).data)
    first = old.shards[0]
    data = world.memory.get(Ref("service", naming.shard_key(old.name, old.run, 0, first.digest))).data
    world.memory.put(Ref("service", naming.shard_key(old.name, old.run, 2, first.digest)), data)
    forged = replace(old, pictures=5, shards=(*old.shards, ShardEntry(index=2, tasks=first.tasks, digest=first.digest)))
    world.memory.put(ref, plan.plan_to_json(forged))


def say(world: World, **changes: object) -> None:
    """Write a status that says otherwise."""
    ref = Ref("service", "status/spring.json")
    found = status.from_json(world.memory.get(ref).data)
    world.memory.put(ref, status.to_json(replace(found, **changes)))  # type: ignore[arg-type]


Tampering = Callable[[World], object]
TAMPERINGS: list[tuple[str, Tampering, set[str]]] = [
    ("nothing", lambda w: None, set()),
    ("a result is gone", lambda w: w.memory.delete(RESULT), {"results"}),
    ("a result was replaced", lambda w: w.memory.put(RESULT, b"other"), {"results"}),
    (
        "a result was replaced by one with its own mark",
        lambda w: put_result(w, "a.jpg", b"other", task=tasks(w)["catalog/a.jpg"].task_id),
        {"results"},
    ),
    ("a file of the user's lies there too", lambda w: put_result(w, "notes.txt", task=None), set()),
    ("an object with a mark of nobody's", lambda w: put_result(w, "x.jpg", task=FAR_AWAY), {"output"}),
    ("a mark that is no id", lambda w: put_result(w, "x.jpg", task="\x1b[2J"), {"output"}),
    (
        "a copy of a result",
        lambda w: put_result(w, "copy/a.jpg", task=tasks(w)["catalog/a.jpg"].task_id),
        set(),
    ),
    ("receipts are gone", lambda w: w.memory.delete(service(w, "/receipts/00001/")), {"report"}),
    ("a receipt is broken", lambda w: w.memory.put(service(w, "/receipts/00001/"), b"{"), {"receipts", "report"}),
    ("a receipt twice that agrees", lambda w: receipt_again(w, "a"), set()),
    ("a failure twice that agrees", lambda w: receipt_again(w, "b"), set()),
    ("a receipt twice with other results", lambda w: receipt_again(w, "a", result_etag="other"), {"receipts"}),
    ("a receipt of done and failed", lambda w: receipt_again(w, "b", outcome="done", result=str(RESULT)), {"receipts"}),
    ("a receipt for a task of no shard", stranger, {"receipts"}),
    ("a receipt that names another shard", lambda w: receipt_again(w, "a", shard=1), {"receipts"}),
    (
        "receipts of a shard that does not exist",
        lambda w: w.memory.put(Ref("service", service(w, "/receipts/00000/").key.replace("/00000/", "/00002/")), b""),
        {"receipts"},
    ),
    (
        "something else among the receipts",
        lambda w: w.memory.put(Ref("service", service(w, "/receipts/").key.replace("/00000/", "/x/")), b""),
        {"receipts"},
    ),
    (
        "a shard is gone",
        lambda w: w.memory.delete(service(w, "/shards/00001")),
        {"shards", "receipts", "report", "output"},
    ),
    (
        "a shard was changed",
        lambda w: w.memory.put(service(w, "/shards/00001"), b"[]\n"),
        {"shards", "receipts", "report", "output"},
    ),
    ("a picture stands in two shards", forge_plan_with_a_picture_twice, {"shards", "report"}),
    ("the report is gone", lambda w: w.memory.delete(service(w, "report.json")), {"report"}),
    ("the report is broken", lambda w: w.memory.put(service(w, "report.json"), b"{"), {"report"}),
    ("the report is a list", lambda w: w.memory.put(service(w, "report.json"), b"[]"), {"report"}),
    (
        "the report has other totals",
        lambda w: edit(w, service(w, "report.json"), lambda d: d.update(totals={"done": 3})),
        {"report", "status"},
    ),
    (
        "the report has other reasons",
        lambda w: edit(w, service(w, "report.json"), lambda d: d.update(failuresByReason={"truncated": 1})),
        {"report"},
    ),
    ("a page of failures is gone", lambda w: w.memory.delete(service(w, "/failures/")), {"report"}),
    (
        "a page of failures too many",
        lambda w: w.memory.put(Ref("service", service(w, "/failures/").key.replace("00000", "00001")), b"{}\n"),
        {"report"},
    ),
    ("the status has another phase", lambda w: say(w, phase=Phase.SUCCEEDED), {"status"}),
    ("the status has another reason", lambda w: say(w, reason="DeadlineExceeded"), {"status"}),
    ("the status has other numbers", lambda w: say(w, done=1), {"status"}),
    (
        "a checkpoint of a finished picture",
        lambda w: w.memory.put(Ref("service", naming.checkpoint_key(tasks(w)["catalog/a.jpg"].task_id)), b""),
        {"checkpoints"},
    ),
    (
        "a checkpoint of another run",
        lambda w: w.memory.put(Ref("service", naming.checkpoint_key(FAR_AWAY)), b""),
        set(),
    ),
]


@pytest.mark.parametrize(("tamper", "wrong"), [t[1:] for t in TAMPERINGS], ids=[t[0] for t in TAMPERINGS])
def test_whatever_was_changed_is_found_and_nothing_else(world: World, tamper: Tampering, wrong: set[str]) -> None:
    tamper(world)
    before = (world.keys("service"), world.keys("shop"))
    found = audited(world)
    assert set(faults(found)) == wrong, found.faults.shown
    assert found.good is (not wrong)
    assert (world.keys("service"), world.keys("shop")) == before, "it only reads"


def test_every_check_is_broken_by_some_case() -> None:
    assert {check for _, _, wrong in TAMPERINGS for check in wrong} == set(CHECKS)


def test_an_audit_tells_what_it_looked_at(world: World) -> None:
    found = audited(world)
    assert (found.name, found.run, found.phase) == ("spring", world.status().run, "PartiallySucceeded")
    assert found.looked_at == {"shards": 2, "receipts": 3, "results": 2, "output": 2, "report": 2, "status": 1}
    assert not found.notes.counts


def test_a_fault_names_the_object_and_what_was_found(world: World) -> None:
    world.memory.delete(RESULT)
    world.memory.put(Ref("shop", "restyled/spring/c.jpg"), b"other")
    put_result(world, "x.jpg", task=FAR_AWAY)
    said = {(r.check, r.about.rpartition("/")[2]): r.message for r in audited(world).faults.shown}
    assert said["results", "a.jpg"] == "the result is not there"
    assert said["results", "c.jpg"].startswith("its ETag is 795f3202b17cb6bc3d4b771d8c6c9eaf, its receipt says ")
    assert said["output", "x.jpg"] == f"it is marked with {FAR_AWAY}, which is no picture of this name"


@pytest.mark.parametrize("name", ["a", "b"])
def test_attempts_that_agree_are_noted(world: World, name: str) -> None:
    receipt_again(world, name)
    (note,) = audited(world).notes.shown
    assert note.check == "receipts"
    assert note.message.startswith("2 receipts say the same; by ")


def test_many_faults_are_all_counted_and_the_first_named() -> None:
    world = World()
    for number in range(SHOWN_MAX + 20):
        world.picture(f"more-{number:03d}")
    world.submit()
    world.work_to_the_end()
    for key in world.keys("shop"):
        if key.startswith("restyled/"):
            world.memory.delete(Ref("shop", key))
    found = audited(world)
    assert found.faults.counts["results"] == SHOWN_MAX + 23
    assert len(found.faults.shown) == SHOWN_MAX
    assert all(r.message == "the result is not there" for r in found.faults.shown)


# --- runs that ended otherwise ----------------------------------------------------------------------------------------


def half_done() -> World:
    world = World()
    world.submit(run={"parallelism": 2, "deadline": "6h"})
    world.tick()
    world.cluster.work(only={0})
    return world


def left_over(world: World) -> None:
    """What a worker leaves that ended between a result and its receipt, and with another picture in the works."""
    task = tasks(world)["catalog/c.jpg"]
    world.memory.put(task.output, b"restyled", metadata={naming.METADATA_TASK: task.task_id})
    world.memory.put(Ref("service", naming.checkpoint_key(task.task_id)), b"")


@pytest.mark.parametrize("end", ["cancelled", "deadline", "deleted"])
def test_what_a_run_that_was_ended_did_not_do_is_told_and_no_fault(end: str) -> None:
    world = half_done()
    left_over(world)
    match end:
        case "cancelled":
            world.put("spring.cancel")
        case "deleted":
            world.remove("spring.yaml")
        case _:
            world.now += timedelta(hours=6)
    world.tick(5)
    assert world.status().phase.final
    found = audited(world)
    assert faults(found) == {}, found.faults.shown
    assert dict(found.notes.counts) == {"receipts": 1, "output": 1, "checkpoints": 1}
    why = "DeadlineExceeded" if end == "deadline" else "Cancelled"
    assert f"pictures without receipt, since the run was ended ({why}): 1" in {r.message for r in found.notes.shown}


def test_pictures_of_a_shard_that_was_given_up_are_told_and_agree_with_the_report() -> None:
    world = half_done()
    world.cluster.fail(1)
    world.cluster.finish()
    world.tick()
    found = audited(world)
    assert faults(found) == {}
    assert [r.message for r in found.notes.shown] == ["pictures without receipt, since their shard was given up: 1"]


def test_a_success_with_a_picture_that_has_no_receipt_is_none() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    world.memory.delete(service(world, "/receipts/00001/"))
    assert set(faults(audited(world))) == {"report"}


def test_results_of_earlier_runs_and_pictures_that_were_skipped_belong_there() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    first = world.status().run
    world.picture("b", shade=2)
    world.picture("d")
    world.memory.delete(Ref("shop", "catalog/c.jpg"))
    world.submit()
    world.work_to_the_end()
    assert (world.status().done, world.status().skipped) == (2, 1)
    assert faults(audited(world)) == {}
    assert not audited(world).notes.counts
    assert faults(audited(world, first)) == {}


def test_a_result_that_a_newer_run_replaced_is_told_in_the_audit_of_the_older() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    first = world.status().run
    world.memory.put(Ref("shop", "restyled/spring/a.jpg"), b"damaged")
    world.submit()
    world.tick()
    # The new worker paints it otherwise.
    (task,) = [t for t in tasks(world).values() if t.content.key == "catalog/a.jpg"]
    world.cluster.work()
    etag = world.memory.put(RESULT, b"otherwise", metadata={naming.METADATA_TASK: task.task_id})
    run = world.status().run
    ref = service(world, f"runs/spring/{run}/receipts/")
    (one,) = receipt.from_lines(world.memory.get(ref).data)
    world.memory.put(ref, receipt.to_lines([replace(one, result_etag=etag)]))
    world.cluster.finish()
    world.tick()
    assert faults(audited(world)) == {}
    older = audited(world, first)
    assert set(faults(older)) == set()
    assert [r.message for r in older.notes.shown] == ["results that those of another run or attempt have replaced: 1"]


def test_a_result_of_an_earlier_run_that_was_cancelled_before_its_receipt_is_explained() -> None:
    world = half_done()
    left_over(world)
    world.put("spring.cancel")
    world.tick(3)
    world.remove("spring.cancel")
    world.picture("c", shade=9)
    world.submit()
    world.tick(2)
    world.memory.delete(service(world, "checkpoints/"))
    put_result(world, "moved/c.jpg", task=tasks_of_first_run(world))
    world.work_to_the_end()
    found = audited(world)
    assert faults(found) == {}, found.faults.shown
    assert "a result without receipt, of another run of this name" in {r.message for r in found.notes.shown}


def tasks_of_first_run(world: World) -> str:
    """The id of `c` before it was changed."""
    ids = {
        t.task_id
        for key in world.keys("service")
        if "/shards/" in key
        for t in tasks_from_bytes(world.memory.get(Ref("service", key)).data)
        if t.content.key == "catalog/c.jpg" and f"/{world.status().run}/" not in key
    }
    return ids.pop()


def test_receipts_of_a_tenants_manifest_in_a_folder_of_this_name_explain_nothing(world: World) -> None:
    put_result(world, "x.jpg", task=FAR_AWAY)
    one = make_receipt("catalog/x.jpg", result_etag=world.keys("shop")["restyled/spring/x.jpg"])
    key = naming.receipts_key("spring/summer", world.status().run, 0, "a", 0)
    world.memory.put(Ref("service", key), receipt.to_lines([one]))
    assert set(faults(audited(world))) == {"output"}


def test_a_tenants_run_is_audited_by_its_full_name_and_beside_its_own_checkpoints() -> None:
    shared = Shared()
    shared.submit_to("art")
    shared.tick()
    shared.cluster.work(name="art/spring")
    shared.cluster.finish(name="art/spring")
    shared.tick(2)
    task_id = tasks(shared)["art/catalog/a.jpg"].task_id
    shared.memory.put(Ref("service", naming.checkpoint_key(task_id, "toys")), b"")
    found = audit(shared.store, "service", "art/spring")
    assert faults(found) == {}
    assert found.looked_at["results"] == 3
    shared.memory.put(Ref("service", naming.checkpoint_key(task_id, "art")), b"")
    assert faults(audit(shared.store, "service", "art/spring")) == {"checkpoints": 1}


# --- what cannot be audited -------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_cannot_be_audited_nor_an_older_one_of_its_name(world: World) -> None:
    first = world.status().run
    world.submit()
    world.tick()
    for run in (None, first):
        with pytest.raises(RunUnderWay, match=r"a run is going on \(Running\)"):
            audited(world, run)


def test_what_was_never_planned_or_is_not_known_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="was never planned"):
        audited(world, "0" * 16)
    with pytest.raises(NotFound, match="autumn: no status"):
        audit(world.store, "service", "autumn")


def test_a_status_that_cannot_be_read_is_said(world: World) -> None:
    world.memory.put(Ref("service", "status/spring.json"), b"{")
    with pytest.raises(RecordUnreadable, match=r"status/spring\.json: the status cannot be read"):
        audited(world)


def test_a_run_whose_status_was_deleted_is_audited_by_its_name(world: World) -> None:
    run = world.status().run
    world.memory.delete(Ref("service", "status/spring.json"))
    found = audited(world, run)
    assert faults(found) == {}
    assert found.looked_at["status"] == 0


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_ok_and_ends_with_zero(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command.run(world.store, "service", "spring", run=None, output="table") is ExitCode.OK
    told = capsys.readouterr().out
    assert f"spring, run {world.status().run}, PartiallySucceeded" in told
    assert [line.split()[0] for line in told.splitlines()[2:]] == list(CHECKS)


def test_the_command_names_faults_and_ends_with_three(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.memory.delete(RESULT)
    put_result(world, "\x1b[2Jx.jpg", task="\x1b[31m[red]")
    assert command.run(world.store, "service", "spring", run=None, output="table") == 3
    told = capsys.readouterr().out
    assert "fault: results: s3://shop/restyled/spring/a.jpg: the result is not there" in told
    assert "\\u001b[2Jx.jpg: it is marked with \\u001b[31m[red], which is no picture" in told
    assert "\x1b" not in told


def test_the_same_as_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    receipt_again(world, "a", result_etag="other")
    assert command.run(world.store, "service", "spring", run=None, output="json") == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["good"], found["phase"]) == ("spring", False, "PartiallySucceeded")
    assert [c["id"] for c in found["checks"]] == list(CHECKS)
    assert {c["id"]: c["faults"] for c in found["checks"]}["receipts"] == 1
    (fault,) = found["faults"]
    assert (fault["check"], fault["about"]) == ("receipts", "s3://shop/catalog/a.jpg")


def test_another_form_is_refused(world: World) -> None:
    with pytest.raises(SettingsInvalid, match="table and json"):
        command.run(world.store, "service", "spring", run=None, output="yaml")


# --- its parts --------------------------------------------------------------------------------------------------------

NAMES = st.lists(st.text(max_size=3))


@given(st.lists(NAMES, max_size=4), NAMES)
def test_members_are_a_set(parts: list[list[str]], wanted: list[str]) -> None:
    members = Members(prints((name,) for name in part) for part in parts)
    everything = {name for part in parts for name in part}
    assert len(members) == len(everything)
    assert members.have(prints((name,) for name in wanted)).tolist() == [name in everything for name in wanted]


def test_the_parts_of_a_name_do_not_run_together() -> None:
    assert not Members([prints([("ab", "c")])]).have(prints([("a", "bc")]))[0]
