"""An edition is announced once in each place, however often and wherever the command ends."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ci.cli.exits import Exit, WrongUse
from ci.review.forges import ForgePlace, GitHub, GitLab
from ci.review.listeners import ForgeRelease, name_tag
from reconciler.datasets.announcing.announcement import AGAIN, ARRIVED, announce_edition, list_announced
from reconciler.datasets.operations.records import OperationWriter
from reconciler.datasets.operations.stored import list_operations
from reconciler.ledger.reading.editions import StoredEdition
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.operations import OperationState
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.manifest.dataset import parse_dataset
from tests.support.services.forges import TOKEN, FakeForge
from tests.support.worlds.frozen_datasets import freeze
from tests.support.worlds.noted_world import AFTER, make_noted
from tests.support.worlds.scheme_world import Told

EDITION = StoredEdition(AFTER.partition(":")[0], 1, "a" * 64, None, "x", "2019-02-15T09:00:00Z")
NOTE = {"schema": "edition-note/1"}
WHO = "shifter@example.org"


class Killed(BaseException):
    """As if the process were killed here."""


class Place:
    """A place that remembers what it was told; it ends the process `before` or `after` it is told once."""

    def __init__(self, *, answers: bool, dies: str | None = None, name: str = "a place") -> None:
        self.name, self.answers, self.dies = name, answers, dies
        self.told = 0

    def find(self):
        return "there" if self.answers and self.told else None

    def tell(self):
        dies, self.dies = self.dies, None
        if dies == "before":
            raise Killed
        self.told += 1
        if dies == "after":
            raise Killed
        if dies == "unsure":
            raise SourceUnavailable("no answer")
        return "there"


@pytest.fixture
def state(tmp_path):
    return State(tmp_path / "state")


def announce(state, place, edition=EDITION, **more):
    with opened(state) as engine:
        return announce_edition(Writer(engine, None), WHO, edition, NOTE, place, **more)


def list_states(state):
    with reading(state) as connection:
        return [one.state for one in list_operations(connection, EDITION.name)]


@pytest.mark.parametrize("end", ["begun", "before", "after", "ending"])
def test_a_place_that_answers_is_told_once_wherever_the_process_ends(state, end, monkeypatch):
    place = Place(answers=True, dies=end)
    with monkeypatch.context() as patched:
        if end == "begun":
            begin = OperationWriter.begin

            def die(self, *arguments, **more):
                begin(self, *arguments, **more)
                raise Killed

            patched.setattr(OperationWriter, "begin", die)
        elif end == "ending":

            def die(*_, **__):
                raise Killed

            patched.setattr(OperationWriter, "end", die)
        with pytest.raises(Killed):
            announce(state, place)
    assert list_states(state) == [OperationState.INTENDED]
    place.dies = None
    for _ in range(2):
        assert announce(state, place).told == "announced: there"
    assert place.told == 1
    assert list_states(state) == [OperationState.DONE]


@pytest.mark.parametrize("end", ["before", "after", "unsure"])
@pytest.mark.parametrize("decision", [AGAIN, ARRIVED])
def test_where_nobody_can_look_a_person_decides(state, end, decision):
    place = Place(answers=False, dies=end)
    with pytest.raises((Killed, SourceUnavailable)):
        announce(state, place)
    told = place.told
    for _ in range(2):
        with pytest.raises(GuardRefused, match="nobody knows whether it arrived: ask there"):
            announce(state, place)
    assert place.told == told, "it is not repeated by itself"
    announce(state, place, unsure=decision)
    announce(state, place, unsure=AGAIN)
    assert place.told == told + (decision == AGAIN)
    assert list_states(state) == [OperationState.DONE]


def test_another_edition_under_the_same_number_is_announced_and_each_place_for_itself(state):
    first, second = (Place(answers=True, name=name) for name in ("one", "two"))
    announce(state, first)
    announce(state, second)
    other = StoredEdition(EDITION.dataset, 1, "b" * 64, None, "x", "2019-02-15T09:00:00Z")
    with reading(state) as connection:
        assert sorted(list_announced(connection, EDITION)) == ["one", "two"]
        assert list_announced(connection, other) == {}
    again = Place(answers=True, name="one")
    announce(state, again, other)
    assert (first.told, second.told, again.told) == (1, 1, 1)


def test_what_was_refused_before_anything_was_done_may_be_tried_again(state):
    class Closed(Place):
        def find(self):
            raise GuardRefused("nobody may ask")

    with pytest.raises(GuardRefused):
        announce(state, Closed(answers=True))
    assert list_states(state) == [OperationState.REFUSED]
    place = Place(answers=True)
    announce(state, place)
    assert place.told == 1


# -- forges


@pytest.fixture(params=["gitlab", "github"])
def forge(request):
    made = FakeForge(request.param)
    yield made
    made.close()


def open_release(forge, text="the note\n"):
    kind = {"gitlab": GitLab, "github": GitHub}[forge.kind]
    opened_forge = kind(ForgePlace(forge.address, "belle2/productions"), TOKEN, lambda _: None)
    return ForgeRelease(opened_forge, name_tag(parse_dataset(AFTER)), "main", AFTER, text)


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_release_is_opened_once_also_if_the_answer_is_lost(forge, state):
    forge.silent = True
    told = announce(state, open_release(forge)).told
    assert told == f"announced: {forge.address}/belle2/productions/-/releases/datasets/proc8/reco/mdst/1"
    (release,) = forge.releases.values()
    text = {"gitlab": "description", "github": "body"}[forge.kind]
    assert (release["tag_name"], release["name"], release[text]) == (
        "datasets/proc8/reco/mdst/1",
        AFTER,
        "the note\n",
    )
    assert release[{"gitlab": "ref", "github": "target_commitish"}[forge.kind]] == "main"
    assert [what for what, _ in forge.seen].count("POST") == 1


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_release_with_another_text_stays_as_it_is(forge, state):
    open_release(forge, "of mallory").tell()
    with pytest.raises(GuardRefused, match="has another text; it stays as it is"):
        announce(state, open_release(forge))
    assert len(forge.releases) == 1
    assert [what for what, _ in forge.seen].count("POST") == 1


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(("status", "error"), [(401, GuardRefused), (503, SourceUnavailable)])
def test_a_forge_that_refuses_or_is_down_opens_nothing(forge, state, status, error):
    forge.failing = [status] * 10
    with pytest.raises(error, match=f"{status}"):
        announce(state, open_release(forge))
    forge.failing = []
    assert forge.releases == {}
    announce(state, open_release(forge))
    assert len(forge.releases) == 1


# -- the command


class Mailbox(BaseHTTPRequestHandler):
    """What apprise sends to `json://`."""

    def do_POST(self):
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mailbox():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mailbox)
    server.got = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise loads it
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_verb_tells_forge_and_circles_the_same_note_once(
    tmp_path, circle, forge, mailbox, monkeypatch, capsys
):
    monkeypatch.setenv("B2PROD_FORGE_TOKEN", TOKEN)
    world = make_noted(tmp_path / "checkout", circle)
    told = Told(world, capsys)
    notify = tmp_path / "notify.toml"
    notify.write_text(f'[circles.analysts]\nurls = ["json://127.0.0.1:{mailbox.server_port}/"]\n')
    notify.chmod(0o600)
    _, said = told.read("announce", AFTER, code=Exit.USAGE)
    assert "say where to announce it" in said
    note = told.read("dataset", "note", AFTER, "--format", "markdown")[0]
    words = ("announce", AFTER, f"--{forge.kind}", forge.address, "--project", "belle2/productions")
    out, _ = told.read(*words)
    assert "announced: http" in out
    world.reconcile("proc8")  # the facts move, and what is told does not
    freeze(world, runs="3:2", name="proc8/reco/mdst")
    out, said = told.read(*words, "--notify", notify)
    assert "was announced on" in said
    assert out == f"{AFTER}  announced: the circle analysts\n"
    assert told.read(*words, "--notify", notify)[0] == ""
    (release,) = forge.releases.values()
    assert release[{"gitlab": "description", "github": "body"}[forge.kind]].split() == note.split()
    (message,) = mailbox.got
    assert message["title"] == f"b2prod: {AFTER}, against proc7/reco/mdst:1"
    assert "CDCTimeZeros changed (2)" in message["message"]
    assert message["message"].rstrip().splitlines()[-1] in note


SCHEME = """\
schema: scheme/1
title: Announced when it is made
stages:
  made: {make: [proc8/reco], complete: COMPLETE}
  told: {announce: [proc8/reco/mdst], after: [made]}
"""


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_stage_that_announces_passes_by_the_announcement_and_waits_for_those_before(
    tmp_path, circle, mailbox, capsys
):
    world = make_noted(tmp_path / "checkout", circle)
    told = Told(world, capsys)
    notify = tmp_path / "notify.toml"
    notify.write_text(f'[circles.analysts]\nurls = ["json://127.0.0.1:{mailbox.server_port}/"]\n')
    notify.chmod(0o600)
    words = ("announce", AFTER, "--notify", notify)
    world.write("productions/schemes/phase2.yaml", SCHEME.replace("COMPLETE", "1"))
    _, said = told.read(*words, code=Exit.REFUSED)
    assert f"{AFTER} is not announced yet, phase2/told waits for gate made: 3 of 4 runs" in said
    assert mailbox.got == []
    world.write("productions/schemes/phase2.yaml", SCHEME.replace("COMPLETE", "0.7"))
    stage = told.stages("phase2")["told"]
    assert (stage["state"], stage["lacks"]) == ("open", ["proc8/reco/mdst is not announced"])
    assert told.read(*words)[0] == f"{AFTER}  announced: the circle analysts\n"
    stage = told.stages("phase2")["told"]
    assert (stage["state"], len(mailbox.got)) == ("passed", 1)
    assert stage["evidence"][0].startswith(f"{AFTER} announced at 20")


def test_a_token_is_not_sent_in_the_clear():
    with pytest.raises(WrongUse, match="not https"):
        GitLab(ForgePlace("http://gitlab.example.org", "belle2/productions"), TOKEN)
