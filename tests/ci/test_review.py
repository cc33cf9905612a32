"""The comment of a pull request: true, short, and written by nobody but us."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ci.changes.export import write_export
from ci.cli.console import strip_controls
from ci.cli.exits import Exit
from ci.cli.findings import FORMATS
from ci.cli.markdown import code, escape, fence, shorten, table, truncate
from ci.command_line import run
from ci.review.text import LONGEST, MARKER
from reconciler.ledger.store.database import State
from schemas.findings.finding import Finding, Place
from tests.support.worlds import example
from tests.support.worlds.builders import FILES, swap

HOSTILE = (
    "APPROVED by @all | <img src=x onerror=alert(1)> ![x](https://evil.example/x.png) [ok](javascript:x)"
    " ``` </details> # heading $$x$$ ~~gone~~ :tada: <!-- b2prod:review --> www.evil.example `@all` \x1b[31m\u009b"
)


@pytest.mark.slow
def test_the_example_in_docs_is_what_is_written_today(tmp_path):
    assert example.write_page(tmp_path) == example.FILE.read_text(), (
        "run `python -m tests.support.worlds.example`"
    )


@pytest.fixture
def proposed(tmp_path):
    """A repository in which proc8 is proposed, with an export of the state."""
    history, base, head = example.propose(tmp_path)
    state = State(tmp_path / "state")
    example.record(state)
    write_export(state, tmp_path / "state.zip", tmp_path / "reconciler", example.NOW)

    def call(head=head, *options, export="state.zip"):
        arguments = ["--root", str(history.root), "review", "--base", base, "--head", head, *options]
        return run([*arguments, "--state-export", str(tmp_path / export)])

    call.history, call.base, call.head = history, base, head
    return call


@pytest.mark.slow
def test_all_that_a_forge_draws_from_is_written(proposed, tmp_path, capsys):
    assert proposed(proposed.head, "-o", str(tmp_path / "made")) == Exit.FINE
    made = {file.name: file.read_text() for file in (tmp_path / "made").iterdir()}
    assert json.loads(made["terraform.json"]) == {"create": 1226, "update": 0, "delete": 0}
    assert json.loads(made["codequality.json"]) == []
    plan = json.loads(made["plan.json"])
    assert plan["has_changes"]
    assert plan["origin"]["stale"]
    assert plan["digest"][:12] in made["comment.md"]
    # the export is of 2019: what was made since is not in it, and that is said where it is seen
    assert "The state that this was planned from is old" in made["comment.md"]


@pytest.mark.slow
def test_without_a_state_the_review_says_so_and_guesses_nothing(proposed, capsys):
    assert proposed(export="nothing.zip") == Exit.UNAVAILABLE
    said = capsys.readouterr().out
    assert "There is no plan" in said
    assert "not planned" in said
    assert "global tag added" in said
    assert "to submit" not in said


@pytest.mark.slow
def test_s39_what_a_change_says_cannot_speak_in_our_name(proposed, capsys):
    history = proposed.history
    manifest = (history.root / "productions/campaigns/proc8/campaign.yaml").read_text()
    title = json.dumps(HOSTILE[:80].replace("\x1b", ""))
    head = history.commit(
        "hostile",
        **{
            "productions/campaigns/proc8/campaign.yaml": re.sub(
                "(?m)^title: .*$", lambda _: f"title: {title}", manifest
            ),
            "productions/campaigns/evil<b>@all/campaign.yaml": "x: 1\n",
            "productions/skims/``` @all.yaml": "skims: {}\n",
            "<script>@all</script>.md": "x",
        },
    )
    assert proposed(head) == Exit.FINDINGS
    said = capsys.readouterr().out
    assert said.startswith(f"{MARKER}\n")
    assert said.count("<!--") == 1
    assert_tame(said)


def assert_tame(text):
    """Outside of code there is no mention, tag, link or image that we did not write."""
    for line in text.splitlines():
        bare = re.sub(r"(`+) ?.*?[^`] ?\1(?!`)", "", line)
        assert not re.search(
            r"@\w|<(?!/?(details|summary|sub)>|!-- b2prod:review -->)|\]\(|!\[|https?://|www\.", bare
        ), line


@given(st.text())
def test_escaped_text_is_inert(text):
    made = escape(text)
    assert "\n" not in made
    assert not re.search(r"[`|<>@*_~\[\]!\\$]|www\.|&(?!#[0-9]+;)", made)


def read_rendered(markdown):
    """The text that a browser shows of Markdown, but for code: what forges look for mentions in."""
    tokens = [token for block in MarkdownIt().parse(markdown) for token in block.children or ()]
    return "".join(token.content for token in tokens if token.type == "text")


CALLS = re.compile(
    r"@\w|#\d|#\w|!\d|%\d|%\w|~\d|~\w|[$]\d|&\d|:\w+:|\[\w+:|https?://|www\.\w|gh-\d|\w@\w", re.IGNORECASE
)
"""What GitHub or GitLab makes a mention, a reference, an emoji or a link of."""


@pytest.mark.parametrize(
    "text",
    [
        "@belle2/everybody fixes #1 and belle2/b2prod#2, closes GH-3",
        "!4 %5 %milestone ~6 ~bug $7 &8 group&9 [issue:10] [vulnerability:11]",
        "someone@example.org https://evil.example www.evil.example :tada:",
        HOSTILE,
    ],
)
def test_s39_text_as_it_is_shown_mentions_nobody_and_refers_to_nothing(text):
    plain = " ".join(strip_controls(text).split())
    assert CALLS.search(plain)
    shown = read_rendered(f"# {escape(text)}")
    assert CALLS.search(shown) is None, shown
    assert shown.replace("\u2060", "") == plain


@given(st.text())
def test_code_cannot_be_left(text):
    made = code(text)
    assert "\n" not in made
    if made.startswith("`"):
        ticks = re.match("`+", made).group()
        assert ticks not in re.findall("`+", made[len(ticks) : -len(ticks)])
        assert made.endswith(ticks)
    else:
        assert "|" not in made
    opening, *content, closing = fence(text)
    assert opening == closing
    assert not any(opening in line for line in content)


def test_tables_are_cut_in_their_middle_and_say_so():
    items = [str(number) for number in range(100)]
    made = shorten(items, 20, "rows")
    assert (made[0], made[-1], len(made)) == ("0", "99", 21)
    assert "… 80 rows are left out here …" in made
    assert shorten(items, 100, "rows") == items
    assert table(("a", "b"), [("1", "2")], ("b",)) == ["| a | b |", "|---|--:|", "| 1 | 2 |"]


def test_a_comment_that_is_too_long_keeps_head_and_tail_and_closes_what_it_opened():
    long = "\n".join(
        [
            MARKER,
            "## head",
            "<details>",
            "```",
            *["x" * 100] * 1000,
            "```",
            "</details>",
            "<sub>tail</sub>",
            "",
        ]
    )
    made = truncate(long, LONGEST)
    assert len(made) <= LONGEST
    assert made.startswith(f"{MARKER}\n## head")
    assert made.endswith("<sub>tail</sub>\n")
    assert made.count("```") == 2
    assert made.count("<details>") == made.count("</details>") == 1
    assert "lines are left out here" in made
    assert truncate("short", LONGEST) == "short"


@pytest.mark.parametrize("form", list(FORMATS))
def test_s41_findings_are_data_in_every_format(form):
    evil = "a\n::error::x ]]> =cmd|'/C calc'!A0 \x1b[2J \"quoted\" <b>"
    finding = Finding(Place(f"productions/{evil}.yaml", 3, 5), "BP201", evil, evil)
    made = FORMATS[form]([finding])
    if form == "github":
        assert len(made.splitlines()) == 1
        assert made.startswith("::error file=")
    elif form != "text":
        assert (
            evil in json.dumps(json.loads(made), ensure_ascii=False)
            or evil.encode("unicode_escape").decode() in made
            or "u001b" in made
        )


def test_sarif_has_rules_places_and_fingerprints():
    made = json.loads(FORMATS["sarif"]([Finding(Place(FILES["campaign"], 3, 5), "BP201", "x", "y")]))
    (result,) = made["runs"][0]["results"]
    assert (
        result["ruleId"] == made["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "BP201"
    )
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 3, "startColumn": 5}


@pytest.mark.slow
def test_what_is_unusual_is_said(proposed, capsys):
    history = proposed.history
    manifest = history.root / "productions/campaigns/proc8/campaign.yaml"
    text = swap(
        manifest.read_text(),
        ("kind: reprocessing", "kind: calibration"),
        ("supersedes: [proc7, proc7b]\n", "reuse: never\n"),
    )
    text = text.replace(
        "    outputs: [mdst, cdst, dst]\n",
        "    outputs: [mdst, cdst, dst]\n    overrides:\n"
        "      - {module: SetupGenfitExtrapolation, parameter: noiseBrems, value: true, reason: studied, ticket: BIIDP-1}\n",
    )
    manifest.write_text(text)
    assert proposed(example.lock(history)) == Exit.FINE
    said = capsys.readouterr().out
    assert (
        "deviates from the standard&#58; SetupGenfitExtrapolation.noiseBrems = true, in reco; studied (BIIDP-1)"
        in said
    )
    assert "reuse&#58; never" in said
    assert "nothing to compare it with" in said


@pytest.mark.slow
def test_policy_and_retirements_are_said_in_plain_sight(proposed, capsys):
    history = proposed.history
    history.git("checkout", "-q", "--detach", proposed.base)
    roles = (history.root / "productions/roles.yaml").read_text()
    head = history.commit(
        "policy", **{"productions/roles.yaml": roles.replace("validity_days: 90", "validity_days: 60")}
    )
    assert proposed(head) == Exit.FINE
    said = capsys.readouterr().out
    assert "No campaign is touched" in said
    assert "It changes who may approve what" in said
    history.git("checkout", "-q", "--detach", proposed.base)
    head = history.commit("gone", **{"productions/retirements/old.yaml": "x: 1\n"})
    assert proposed(head) == Exit.FINDINGS
    assert "### Retirement `old`" in capsys.readouterr().out


def test_review_needs_a_base(capsys):
    assert run(["review", "--head", "HEAD"]) == Exit.USAGE
    assert "--base" in capsys.readouterr().err
