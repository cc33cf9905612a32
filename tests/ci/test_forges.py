"""Comments on forges: one of ours, edited in place, whoever else writes what, and whatever the forge answers."""

from __future__ import annotations

import pytest

from ci.cli.exits import Exit, WrongUse
from ci.command_line import run
from ci.review.forges import ForgePlace, GitHub, GitLab
from ci.review.text import MARKER
from reconciler.outside.errors import SourceUnavailable
from tests.support.services.forges import ME, TOKEN, FakeForge

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
TEXT = f"{MARKER}\n## first\n"


@pytest.fixture(params=["gitlab", "github"])
def forge(request):
    made = FakeForge(request.param)
    yield made
    made.close()


@pytest.fixture
def post(forge):
    waits: list[float] = []

    def call(text=TEXT, token=TOKEN, project="belle2/productions", number=7):
        kind = {"gitlab": GitLab, "github": GitHub}[forge.kind]
        return kind(ForgePlace(forge.address, project, number), token, waits.append).post(text, MARKER)

    call.waits = waits
    return call


def test_a_comment_is_posted_once_and_then_edited_in_place(forge, post):
    for number in range(8):
        forge.say("somebody", f"remark {number}")
    assert post() == "posted"
    for number in range(8):
        forge.say("somebody", f"later remark {number}")
    assert post(f"{MARKER}\n## second\n") == "edited"
    assert forge.texts() == [f"{MARKER}\n## second\n"]
    assert len(forge.comments) == 17
    writes = [what for what in forge.seen if what[0] != "GET"]
    assert post(f"{MARKER}\n## second\n") == "edited"
    assert [what for what in forge.seen if what[0] != "GET"] == writes, (
        "what is the same is not written again"
    )


def test_s39_a_comment_of_another_with_our_marker_is_not_ours(forge, post):
    forge.say("mallory", f"{MARKER}\n## APPROVED\n")
    forge.say(ME, f"a remark that quotes {MARKER}")
    assert post() == "posted"
    assert forge.texts("mallory") == [f"{MARKER}\n## APPROVED\n"]
    assert forge.texts()[-1] == TEXT


@pytest.mark.parametrize("status", [500, 502, 503, 429, 0])
def test_what_may_pass_is_tried_again_a_few_times(forge, post, status):
    forge.failing = [status, status]
    assert post() == "posted"
    assert forge.texts() == [TEXT]
    assert post.waits == [2.0, 4.0]
    forge.failing = [status] * 50
    with pytest.raises(SourceUnavailable, match="answer"):
        post()
    assert len(post.waits) == 5


@pytest.mark.parametrize(
    ("status", "says"), [(401, "may not comment"), (403, "may not comment"), (404, "there is no")]
)
def test_a_refusal_is_said_and_not_repeated(forge, post, status, says):
    forge.failing = [status] if forge.kind == "gitlab" or status != 403 else [200, status]
    if forge.failing[0] == 200:
        forge.name_is_secret = True
        forge.failing = [403, 403]
    with pytest.raises(WrongUse, match=says) as refusal:
        post()
    assert TOKEN not in str(refusal.value)
    assert post.waits == []


def test_a_wrong_token_project_or_number_is_the_callers(forge, post):
    with pytest.raises(WrongUse, match="may not comment"):
        post(token="another")
    with pytest.raises(WrongUse, match="there is no"):
        post(number=8)


def test_a_token_goes_to_its_forge_only_and_never_unencrypted(forge, post):
    with pytest.raises(WrongUse, match="not https"):
        GitLab(ForgePlace("http://forge.example.org", "a/b", 1), TOKEN)
    forge.link_to = "http://127.0.0.2:1"
    for number in range(8):
        forge.say("somebody", f"remark {number}")
    with pytest.raises(SourceUnavailable, match="another address"):
        post()
    assert forge.texts() == []


def test_the_token_of_a_pipeline_of_github_may_not_ask_for_its_name(forge, post):
    if forge.kind == "gitlab":
        return
    forge.name_is_secret = True
    forge.say(GitHub.robot, TEXT)
    assert post(f"{MARKER}\n## second\n") == "edited"
    assert forge.texts(GitHub.robot) == [f"{MARKER}\n## second\n"]


def test_the_verb_posts_reviews_only(forge, tmp_path, monkeypatch, capsys):
    file = tmp_path / "comment.md"
    where = ["--project", "belle2/productions", "--number", "7"]
    file.write_text("# Hello\n")
    arguments = ["post", str(file), f"--{forge.kind}", forge.address, *where]
    assert run(arguments) == Exit.USAGE
    assert "B2PROD_FORGE_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("B2PROD_FORGE_TOKEN", TOKEN)
    assert run(arguments) == Exit.USAGE
    assert "not a review" in capsys.readouterr().err
    assert run(["post", str(file), *where]) == Exit.USAGE
    file.write_text(TEXT)
    assert run(arguments) == Exit.FINE
    assert forge.texts() == [TEXT]
    assert TOKEN not in "".join(capsys.readouterr())
