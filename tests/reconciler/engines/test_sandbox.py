"""Sandboxes from the grid: what unpacks to more than it should, or elsewhere, is not a sandbox."""

from __future__ import annotations

import bz2
import io
import json
import tarfile

import cramjam
import pytest

from reconciler.engines.diracx import sandbox
from reconciler.engines.diracx.engine import DiracxEngine
from reconciler.engines.diracx.sandbox import MEMBERS, UNPACKED, Broken, pack, unpack
from reconciler.model.engine import JobHandle
from schemas.json_schema.validation import load_schema, validate_json
from schemas.policy.site import Site

NAME = "b2p-1f9c-proc7-reco-e3r529-j1f9c20ab-i1-a1"


def make_archive(*members):
    """A tar archive of names and contents; a content may be a TarInfo's fields instead."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, dict):
                member.pax_headers = content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content if member.size else b""))
    return stream.getvalue()


def compress(content):
    return bytes(cramjam.zstd.compress(content))


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


@pytest.mark.parametrize("form", [bytes, bz2.compress, compress])
@pytest.mark.parametrize("size", [10, 5_000_000])
def test_every_form_is_unpacked(room, form, size):
    unpack(form(make_archive(("log", b"x" * size), ("result.json", b"{}"))), room, "result.json")
    assert {file.name: file.stat().st_size for file in room.iterdir()} == {"log": size, "result.json": 2}


def bomb(form):
    return lambda: form(make_archive(("log", bytes(300_000))))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(bomb(bytes), id="plain"),
        pytest.param(bomb(bz2.compress), id="bz2"),
        pytest.param(bomb(compress), id="zstd"),
        pytest.param(lambda: compress(b"no archive at all" * 100)[:-5], id="cut short"),
        pytest.param(lambda: bz2.compress(make_archive(("log", b"x")))[:-5], id="bz2 cut short"),
        pytest.param(lambda: make_archive(("log", {"GNU.sparse.size": f"{1 << 44}"})), id="holes"),
        pytest.param(lambda: make_archive(("log", {"size": "-1024"})), id="less than nothing"),
        pytest.param(lambda: make_archive(("log", {"size": f"{1 << 70}"})), id="more than a number"),
        pytest.param(lambda: make_archive(("log", {"path": "a\0b"})), id="a name that is none"),
        pytest.param(lambda: headers(2000), id="nothing but headers"),
    ],
)
def test_what_is_no_sandbox_or_holds_too_much_leaves_nothing(room, monkeypatch, make):
    monkeypatch.setattr(sandbox, "UNPACKED", 200_000)
    with pytest.raises(Broken, match="the sandbox"):
        unpack(make(), room, "result.json")
    assert not list(room.iterdir())


def headers(count):
    """Extended headers, each of which is about the next."""
    header = make_archive(("log", {"comment": "x"}))[:1024]
    return header * count + bytes(1024)


def test_there_are_not_too_many_files(room):
    with pytest.raises(Broken, match="more than 1,000 files"):
        unpack(make_archive(*[(f"f{number}", b"") for number in range(MEMBERS + 1)]), room, "result.json")
    assert not list(room.iterdir())


def test_nothing_is_written_outside_the_folder(room):
    names = ("../a", "/tmp/a", "b/../../a", "b/a", "..", ".hidden", "x" * 250, "fine")
    unpack(make_archive(*[(name, b"x") for name in names]), room, "result.json")
    assert [path.name for path in room.parent.rglob("*")] == ["room", "fine"]


class Listing:
    """The service, as far as an ended job's sandbox goes."""

    def __init__(self, content, **row):
        self.content, self.row = content, {"JobID": 7, "JobName": NAME, "Status": "Done", **row}

    def search(self, *_):
        return [self.row]

    def list_outputs(self, *_):
        return ["one"]

    def load(self, *_):
        return self.content


@pytest.mark.parametrize(("status", "has_result"), [("Done", True), ("Failed", False)])
def test_a_job_whose_sandbox_is_none_has_failed_for_that_reason(room, monkeypatch, status, has_result):
    """Unless the grid has a reason of its own."""
    settings = {"url": "https://diracx.example.org", "vo": "belle", "group": "belle_user", "user": "somebody"}
    engine = DiracxEngine(Site("grid", "diracx", "data", engine_settings={"diracx": settings}))
    bad = compress(bytes(2 * UNPACKED))
    monkeypatch.setattr(engine, "_client", Listing(bad, Status=status))
    engine.fetch(JobHandle(NAME, "nonce", room, "batch", 0, "2019-02-07T12:00:00Z", "7"))
    file = room / "result.json"
    assert file.exists() is has_result
    if has_result:
        result = json.loads(file.read_bytes())
        assert not validate_json(result, load_schema("result"))
        assert (result["nonce"], result["failure"]["class"]) == ("nonce", "infrastructure")
        assert "holds more than 268,435,456 bytes" in result["failure"]["message"]


def test_what_is_packed_is_unpacked(room):
    unpack(pack({"a": b"1", "b": b""}), room, "a")
    assert {file.name: file.read_bytes() for file in room.iterdir()} == {"a": b"1", "b": b""}
