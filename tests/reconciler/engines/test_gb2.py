"""Productions of the grid as an engine, driven by executables that replay the states and texts that are known."""

from __future__ import annotations

import dataclasses
import json
import time
from datetime import timedelta

import pytest

from reconciler.engines.gb2.engine import Gb2Engine
from reconciler.engines.gb2.replies import UnreadableReply, read_files, read_status
from reconciler.model.engine import (
    Accepted,
    Batch,
    EngineUnavailable,
    JobHandle,
    Refused,
    Sighting,
    Uncertain,
)
from renderer.jobs.requests import UNSUBMITTABLE
from schemas.policy.site import Site
from tests.support.doubles.gb2_commands import install
from tests.support.worlds.processes import wait_until
from tests.support.worlds.worlds import ONE_STEP, World

REQUEST = {
    "FabricationType": "DataSkim",
    "ProductionName": "proc7-skims-0123456789",
    "ProductionGroup": "skim",
    "Description": "Skims",
    "Release": "release-03-02-02",
    "Campaign": "proc7",
    "BeamEnergy": "4S",
    "DBGlobalTag": "DB00000654",
    "LPNPrefix": "/belle/Data",
    "SteeringFile": "steering.py",
    "SteeringFilePrefix": "proc7/skims",
    "DataDescription": [{"DataLevel": "udst", "": "HadronSkim", "SkimDecayMode": "14120601"}],
}


@pytest.fixture
def grid(tmp_path):
    return install(tmp_path / "gb2")


@pytest.fixture
def make_engine(grid):
    def make(seconds=16.0, group="belle_dataprod", wrapper=None):
        settings = {"wrapper": list(wrapper or grid.wrapper), "group": group}
        return Gb2Engine(Site("grid", "gb2", "data", engine_settings={"gb2": settings}), seconds)

    return make


@pytest.fixture
def make_batch(tmp_path):
    def make(*runs, name="b2p-7c1e-proc7-skims-b0", files=1, **changes):
        handles = []
        for index, run in enumerate(runs):
            folder = tmp_path / "attempts" / f"{name}-{index}"
            folder.mkdir(parents=True)
            place = f"/belle/Data/release-03-02-02/DB00000654/proc7/prod00008530/e0003/4S/r{run:05d}/mdst"
            inputs = [{"path": f"{place}/sub00/mdst_{number}.root"} for number in range(files)]
            outputs = [{"output": "hadron", "file": "skim.root"}]
            job = {"experiment": 3, "run": run, "key": "k", "inputs": inputs, "outputs": outputs}
            (folder / "job.json").write_text(json.dumps(job))
            request = {**REQUEST, "InputData": [place], **changes}
            (folder / "request.json").write_text(
                json.dumps({"request": request, "files": {"steering.py": "# steering"}})
            )
            handles.append(
                JobHandle(f"{name}-a{index}", f"nonce{index}", folder, name, index, "2019-02-07T12:00:00Z")
            )
        folder = tmp_path / "batches" / name
        folder.mkdir(parents=True)
        return Batch(name, folder, tuple(handles))

    return make


def submitted(engine, batch):
    answers = engine.submit(batch)
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    pairs = zip(batch.handles, answers, strict=True)
    return [dataclasses.replace(handle, reference=answer.reference) for handle, answer in pairs]


def number_of(handles):
    (number,) = {int(handle.reference.partition("_")[0]) for handle in handles}
    return number


def look(engine, handles):
    seen = engine.query(handles)
    return [seen[handle.name].sighting for handle in handles]


def fetched(engine, handle):
    def done():
        try:
            engine.fetch(handle)
        except EngineUnavailable:
            return False
        return True

    wait_until(done)
    return json.loads((handle.folder / "result.json").read_text())


def output(number, run, file="udst_0.root"):
    top = "/belle/Data/release-03-02-02/DB00000654/proc7"
    return f"{top}/prod{number:08d}/e0003/4S/r{run:05d}/14120601/udst/sub00/{file}"


# ── a production's way ──


def test_a_batch_is_one_production_that_is_registered_uploaded_and_approved(grid, make_engine, make_batch):
    batch = make_batch(2724, 2801)
    handles = submitted(make_engine(), batch)
    assert [handle.reference for handle in handles] == ["29655_0", "29655_1"]
    (production,) = grid.read()["productions"].values()
    assert production["state"] == "Approved"
    request = production["request"]
    assert [path[-10:] for path in request["InputData"]] == ["02724/mdst", "02801/mdst"]
    assert request["ProductionName"].startswith("proc7-skims-")
    assert len(request["ProductionName"]) <= 32
    assert [call[0] for call in grid.calls] == [
        "gb2_prod_register",
        "gb2_prod_status",
        "gb2_prod_uploadFile",
        "gb2_prod_approve",
    ]
    assert look(make_engine(), handles) == [Sighting.PENDING] * 2


def test_states_as_they_are_documented(grid, make_engine, make_batch):
    handles = submitted(make_engine(), make_batch(2724))
    number, engine = number_of(handles), make_engine()
    for state, progress, sighting in [
        ("Approved", "", Sighting.PENDING),
        ("Running", "Done=0/402", Sighting.RUNNING),
        ("Running", "Done=100/402", Sighting.RUNNING),
        ("Done", "Done=402/402", Sighting.ENDED),
        ("Done", "", Sighting.ENDED),
        ("Cancelled", "", Sighting.ENDED),
        ("Hibernating", "", Sighting.UNKNOWN),
    ]:
        grid.change(number, state=state, progress=progress)
        assert look(engine, handles) == [sighting], (state, progress)
        assert f"production {number}: {state}" in engine.query(handles)[handles[0].name].reason


def test_what_was_interrupted_between_its_steps_goes_on(grid, make_engine, make_batch):
    grid.set_faults(gb2_prod_uploadFile="fail")
    handles = submitted(make_engine(), make_batch(2724))
    assert grid.read()["productions"]["29655"]["state"] == "Registered"
    grid.set_faults(gb2_prod_approve="hang")
    assert look(make_engine(seconds=2.0), handles) == [Sighting.PENDING]
    assert grid.read()["productions"]["29655"]["state"] == "ToApprove"
    grid.set_faults()
    assert look(make_engine(), handles) == [Sighting.PENDING]
    assert grid.read()["productions"]["29655"]["state"] == "Approved"


@pytest.mark.parametrize("state", ["Done", "Running", "Strange"])
def test_done_400_of_402_is_settled_by_the_outputs_of_each_run(grid, make_engine, make_batch, state):
    engine = make_engine()
    handles = submitted(engine, make_batch(2724, 2801, files=2))
    number = number_of(handles)
    grid.change(number, state=state, progress="Done=400/402")
    grid.add_files(output(number, 2724), output(number, 2724, "udst_1.root"), output(number, 2801))
    assert look(engine, handles) == [Sighting.ENDED, Sighting.RUNNING]
    assert "1 of 2 files of this run are there" in engine.query(handles)[handles[1].name].reason
    grid.set_faults(gb2_ds_list="lie")
    assert look(engine, handles) == [Sighting.UNKNOWN] * 2


# ── names are unique for ever ──


def test_b18_a_second_registration_is_harmless_and_finds_the_first(grid, make_engine, make_batch):
    batch = make_batch(2724, 2801)
    first = submitted(make_engine(), batch)
    again = submitted(make_engine(), batch)
    assert again == first
    assert len(grid.read()["productions"]) == 1
    assert make_engine().find(batch.handles) == {one.name: [one.reference] for one in first}


@pytest.mark.parametrize("fault", ["accept", "accept ERROR: time-out", "accept hang"])
def test_b18_b20_registered_without_a_clear_answer_is_adopted_by_name(grid, make_engine, make_batch, fault):
    batch = make_batch(2724)
    grid.set_faults(gb2_prod_register=fault, gb2_prod_status="fail")
    assert [type(one) for one in make_engine(seconds=2.0).submit(batch)] == [Uncertain]
    with pytest.raises(EngineUnavailable):
        make_engine().find(batch.handles)
    grid.set_faults()
    assert make_engine().find(batch.handles) == {batch.handles[0].name: ["29655_0"]}
    handles = [dataclasses.replace(batch.handles[0], reference="29655_0")]
    assert look(make_engine(), handles) == [Sighting.PENDING]
    assert grid.read()["productions"]["29655"]["state"] == "Approved"


def test_another_batch_is_another_production(grid, make_engine, make_batch):
    one, two = make_batch(2724), make_batch(2724, name="b2p-7c1e-proc7-skims-b1")
    submitted(make_engine(), one)
    assert make_engine().find(two.handles) == {two.handles[0].name: []}
    submitted(make_engine(), two)
    assert len({production["name"] for production in grid.read()["productions"].values()}) == 2


def test_what_was_never_ordered_is_not_found_and_asks_nobody(grid, make_engine, make_batch):
    batch = make_batch(2724)
    assert make_engine().find(batch.handles) == {batch.handles[0].name: []}
    assert grid.calls == []


# ── what cannot be submitted ──


def test_a_stand_in_is_refused_with_its_reason(grid, make_engine, make_batch):
    reason = "what the grid expects for anything but skims is not public"
    answers = make_engine().submit(make_batch(2724, 2801, **{UNSUBMITTABLE: [reason]}))
    assert answers == [Refused(f"the request cannot be submitted: {reason}", "permanent")] * 2
    assert grid.calls == []


def test_units_that_differ_are_no_production(grid, make_engine, make_batch):
    batch = make_batch(2724, 2801)
    file = batch.handles[1].folder / "request.json"
    file.write_text(file.read_text().replace("release-03-02-02", "release-05-00-00"))
    assert isinstance(make_engine().submit(batch)[0], Refused)


def test_a_missing_program_is_a_refusal(make_engine, make_batch):
    engine = make_engine(wrapper=["/nowhere/with-gbasf2"])
    (answer,) = engine.submit(make_batch(2724))
    assert isinstance(answer, Refused)
    assert "/nowhere/with-gbasf2" in answer.reason


# ── queries that fail ──


@pytest.mark.parametrize("fault", ["fail", "lie", "empty", "hang", "lie Proxy expired"])
def test_b24_no_error_of_a_status_moves_an_attempt(grid, make_engine, make_batch, fault):
    batch = make_batch(2724)
    handles = submitted(make_engine(), batch)
    grid.set_faults(gb2_prod_status=fault)
    engine = make_engine(seconds=1.5)
    begun = time.monotonic()
    with pytest.raises(EngineUnavailable, match=r"\w"):
        engine.query(handles)
    with pytest.raises(EngineUnavailable, match=r"\w"):
        engine.find(batch.handles)
    with pytest.raises(EngineUnavailable, match=r"\w"):
        engine.cancel(handles)
    assert time.monotonic() - begun < 6


def test_b20_noise_around_a_table_changes_nothing(grid, make_engine, make_batch):
    grid.set_faults(gb2_prod_status="noise", gb2_prod_register="noise")
    batch = make_batch(2724)
    handles = submitted(make_engine(), batch)
    assert look(make_engine(), handles) == [Sighting.PENDING]
    assert make_engine().find(batch.handles) == {handles[0].name: [handles[0].reference]}


def test_a_number_that_bears_another_name_is_not_ours(grid, make_engine, make_batch):
    handles = submitted(make_engine(), make_batch(2724))
    grid.change(number_of(handles), name="somebody-elses")
    assert look(make_engine(), handles) == [Sighting.UNKNOWN]
    make_engine().cancel(handles)
    assert grid.read()["productions"]["29655"]["state"] == "Approved"


def test_a_reference_that_is_none_says_nothing_of_a_unit(grid, make_engine, make_batch):
    handles = submitted(make_engine(), make_batch(2724, 2725))
    number = number_of(handles)
    for reference in ("no such id", str(number), f"{number}_1", f"{number}_0 ", f"{number}_x"):
        strange = dataclasses.replace(handles[0], reference=reference)
        assert look(make_engine(), [strange]) == [Sighting.UNKNOWN], reference
        assert look(make_engine(), [strange, handles[1]]) == [Sighting.UNKNOWN, Sighting.PENDING]


NOTICES = (
    "",
    "\n\n",
    "ERROR: no proxy\n",
    "Traceback (most recent call last):",
    "Service downtime 2024-01-10 06:00-12:00 UTC, see the e-log.\n",
    '[{"TransformationID": 29655, "Status": "Running"}]\n',
    "<html><body><h1>503</h1></body></html>\n",
    "<bound method Dataset.list of 0x7f>\n",
    "Keine Verbindung zum Dienst.\n",
    " 29655  a-b_c.d  Running\n",
    "The id and the name of a production are asked for\n",
)


@pytest.mark.parametrize(
    "text",
    [
        *NOTICES,
        " ID  Name  Status\n 2965",
        " ID  Name  Status",
        " ID  Name  Status\n#29655: a-b_c.d, Running\n",
        " ID  Name  Status\nService downtime 2024-01-10\n",
    ],
)
def test_a_text_that_is_no_table_proves_no_absence(text):
    with pytest.raises(UnreadableReply):
        read_status(text)


@pytest.mark.parametrize(
    "text", [" ID  Name  Status\n", "| ProdID | ProductionName |\n---\n", "No productions found\n"]
)
def test_a_table_without_rows_is_one(text):
    assert read_status(text) == []


@pytest.mark.parametrize("text", [*NOTICES, "/belle/a/sub00/x.root"])
def test_a_text_without_files_says_nothing_of_outputs(text):
    with pytest.raises(UnreadableReply):
        read_files(text, "/belle/a")


def test_the_words_for_nothing_are_no_files():
    assert read_files("Welcome to gbasf2.\nNo datasets found\n", "/belle/a") == []
    assert read_files("/belle/a/sub00/x.root\n", "/belle/a") == ["/belle/a/sub00/x.root"]


@pytest.mark.parametrize(
    ("line", "state", "counts"),
    [
        (" 29655  a-b_c.d  Running  Done=400/402", "Running", (400, 402)),
        ("| 29655 | a-b_c.d | Done | 400/402 | proc7 |", "Done", (400, 402)),
        ("29655 a-b_c.d Initialized", "Initialized", (None, None)),
        ("29655 a-b_c.d Extending 5 / 7", None, (5, 7)),
    ],
)
def test_rows_of_a_status(line, state, counts):
    (row,) = read_status(f"ID Name Status\n{line}\n")
    assert (row.number, row.name, row.state, (row.done, row.total)) == (29655, "a-b_c.d", state, counts)


# ── outputs ──


def test_outputs_are_downloaded_by_a_process_of_their_own(grid, make_engine, make_batch):
    engine = make_engine()
    (handle,) = submitted(engine, make_batch(2724))
    number = number_of([handle])
    grid.change(number, state="Done")
    grid.add_files(output(number, 2724))
    with pytest.raises(EngineUnavailable, match="being downloaded"):
        engine.fetch(handle)
    result = fetched(make_engine(), handle)
    assert (result["failure"], result["nonce"]) == (None, "nonce0")
    (item,) = result["outputs"]
    assert (handle.folder / "skim.root").stat().st_size == item["size"] == 120
    assert sum(call[0] == "gb2_ds_get" for call in grid.calls) == 1


def test_a_download_that_is_cut_short_is_made_again(grid, make_engine, make_batch):
    engine = make_engine()
    (handle,) = submitted(engine, make_batch(2724))
    path = output(number_of([handle]), 2724)
    grid.change(number_of([handle]), state="Done")
    grid.add_files(path, content="cut")

    def tried_twice():
        with pytest.raises(EngineUnavailable):
            engine.fetch(handle)
        return sum(call[0] == "gb2_ds_get" for call in grid.calls) > 1

    wait_until(tried_twice)
    assert not (handle.folder / "result.json").exists()
    grid.add_files(path)
    assert fetched(engine, handle)["failure"] is None


def test_a_folder_that_takes_no_result_says_nothing_of_it(grid, make_engine, make_batch):
    engine = make_engine()
    (handle,) = submitted(engine, make_batch(2724))
    grid.change(number_of([handle]), state="Done")
    grid.add_files(output(number_of([handle]), 2724))
    (handle.folder / ".result.json.part").mkdir()

    def said():
        with pytest.raises(EngineUnavailable) as refused:
            engine.fetch(handle)
        return "cannot be written" in str(refused.value)

    wait_until(said)


def test_more_files_than_are_due_wait_for_a_person(grid, make_engine, make_batch):
    engine = make_engine()
    (handle,) = submitted(engine, make_batch(2724))
    number = number_of([handle])
    grid.add_files(output(number, 2724), output(number, 2724, "udst_1.root"))
    failure = fetched(engine, handle)["failure"]
    assert failure == {
        "class": "permanent",
        "message": "one file is due of each output, and the grid has 2 of hadron",
    }


def test_no_file_is_no_result(grid, make_engine, make_batch):
    engine = make_engine()
    (handle,) = submitted(engine, make_batch(2724))
    engine.fetch(handle)
    assert not (handle.folder / "result.json").exists()


# ── cancelling, proxies ──


def test_a_production_is_cancelled_as_a_whole_or_not(grid, make_engine, make_batch):
    engine = make_engine()
    handles = submitted(engine, make_batch(2724, 2801))
    with pytest.raises(EngineUnavailable, match="makes 2 units, and 1 are to be cancelled"):
        engine.cancel(handles[:1])
    assert grid.read()["productions"]["29655"]["state"] == "Approved"
    engine.cancel(handles)
    seen = engine.query(handles)
    assert {(one.sighting, one.failure) for one in seen.values()} == {(Sighting.ENDED, "transient")}


def test_the_lifetime_is_what_proxy_info_says(grid, make_engine):
    assert make_engine().lifetime() == timedelta(hours=23, minutes=59, seconds=57)
    state = grid.read()
    grid.write({**state, "proxy": None})
    assert make_engine().lifetime() == timedelta(0)
    assert "no valid proxy" in make_engine().examine()[0].what
    grid.write({**state, "proxy": {"timeleft": "10:00:00", "group": "belle"}})
    with pytest.raises(EngineUnavailable, match="of the group belle; the site's file says belle_dataprod"):
        make_engine().lifetime()
    assert "gb2_proxy_init -g belle_dataprod" in make_engine().examine()[0].remedy
    grid.set_faults(gb2_proxy_info="fail")
    with pytest.raises(EngineUnavailable):
        make_engine().lifetime()


def test_the_renewal_of_a_proxy_names_its_group(make_engine):
    assert make_engine().renewal == "say `gb2_proxy_init -g belle_dataprod -v 168:00`"


def test_basf2s_environment_does_not_reach_the_commands(make_engine, make_batch, monkeypatch):
    monkeypatch.setenv("BELLE2_TOOLS", "/cvmfs/belle.cern.ch/tools")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/cvmfs")
    engine = make_engine()
    assert engine.examine() == []
    submitted(engine, make_batch(2724))


def test_a_wrapper_that_does_not_work_is_said_to(make_engine):
    (complaint,) = make_engine(wrapper=["/nowhere/with-gbasf2"]).examine()
    assert "/nowhere/with-gbasf2" in complaint.what
    assert "gb2.wrapper" in complaint.remedy


# ── a campaign ──


def test_a_campaigns_units_are_refused_with_the_reason_of_their_request(grid, tmp_path):
    world = World(tmp_path / "world", campaign=ONE_STEP)
    site = f"schema: site/1\ntitle: The grid\nengine: gb2\nstorage: data\ngb2: {{wrapper: ['{grid.wrapper[0]}']}}\n"
    world.write("productions/sites/local.yaml", site)
    world.lock()
    outcome = world.reconcile()
    assert len(outcome.failed) == 2
    for _, reason in outcome.failed:
        assert "the request cannot be submitted: " in reason
        assert "what the grid expects for anything but skims is not public" in reason
    assert {call[0] for call in grid.calls} <= {"gb2_proxy_info"}
