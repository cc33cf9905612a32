"""The glossary defines each word once, and words that it replaces do not come back."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"

WORDS = [
    "campaign",
    "experiment",
    "run",
    "step",
    "variant",
    "unit",
    "job",
    "attempt",
    "fingerprint",
    "dataset",
    "edition",
    "snapshot",
    "payload",
    "lock",
    "plan",
    "ledger",
    "restate",
    "retire",
    "hold",
    "pause",
    "intent",
    "journal",
    "turn",
    "statement",
    "scope",
    "finding",
    "site",
    "engine",
    "template",
    "release",
    "conditions",
    "ticket",
]
COMPOUNDS = (
    "global tag",
    "data level",
    "run catalogue",
    "file catalogue",
    "run selection",
    "payload set",
    "value origin",
    "campaign diff",
    "state view",
    "operator action",
    "orphan job",
    "role matching",
    "event log",
    "trust root",
    "site check",
    "file import",
)

BANNED = {
    r"\bstrangers?\b": "orphan job, or unknown file",
    r"\b(seats?|chairs?)\b": "role, and who fills it (role matching)",
    r"\bdossiers?\b": "assessment",
    r"\bchronicles?\b": "event log",
    r"\bbrak(e|es|ing)\b": "admission, or limit",
    r"\bbulkheads?\b": "guarded engine",
    r"\bfleets?\b": "sites, or jobs",
    r"\blevers?\b": "operator action",
    r"\bpictures?\b": "state view",
    r"\belsewise\b": "otherwise, or in another way",
    r"\bin vain\b": "without result",
    r"\bmend(s|ed|ing)?\b": "correct, or fix",
    r"\b(be|is|are) let be\b": "is left alone",
    r"\bsides of (a|the) diff": "inputs of the campaign diff",
    r"(?<!there )(?<!There )\b(is|are|was|were) no (?!longer\b|more\b|such\b|less\b|fewer\b)[a-z{`]": "is not a …",
}
"""Banned words of code, messages and documents: pattern → what to write instead."""

EXCEPTIONS = {
    "the option `--strangers` and its parameter": r"--strangers|\bstrangers: bool|\bif strangers:",
    "the key `brakes` of a site's file, and what carries it": r"\bbrakes\b.*(Admission|`brakes`|\.brakes)|[`\"]brakes[`.\"]|\.brakes\b",
    "the JSON key `remedy` of `b2prod doctor --json`": r"\"mend\": ",
}
"""Lines on which a banned word is allowed, because users or files have it: reason → pattern."""

SKIPPED = ("docs/glossary.md", "docs/digests.md", "reconciler/ledger/migrations/", "renderer/templates/")
"""Files that are not checked: the glossary lists the words, `digests.md` consists of keys, the others never change."""


def list_texts() -> list[Path]:
    """The files that are checked: product code, schemas, and documents."""
    rooms = ("schemas", "renderer", "reconciler", "ci", "docs", "README.md", "CONTRIBUTING.md", "noxfile.py")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *rooms],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    kinds = (".py", ".md", ".json", ".toml")
    return [ROOT / file for file in listed if file.endswith(kinds) and not file.startswith(SKIPPED)]


def find_banned(text: str) -> list[tuple[int, str, str]]:
    """Line number, word and replacement of each banned word in a text."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, instead in BANNED.items():
            match = re.search(pattern, line, re.IGNORECASE)
            if match and not any(re.search(one, line) for one in EXCEPTIONS.values()):
                found.append((number, match[0], instead))
    return found


def read_glossary() -> list[tuple[str, str, str]]:
    """The rows of the glossary: word, what it means, what it is not called."""
    rows = [line.split("|")[1:-1] for line in GLOSSARY.read_text().splitlines() if line.startswith("| ")]
    return [tuple(cell.strip() for cell in row) for row in rows if row[0].strip() != "word"]


def test_a_word_is_defined_once():
    defined = Counter(word.strip() for row in read_glossary() for word in row[0].split(","))
    assert not [word for word, count in defined.items() if count > 1]
    assert not {*WORDS, *COMPOUNDS} - defined.keys()


def test_each_row_of_the_glossary_has_three_columns_and_a_meaning():
    for row in read_glossary():
        assert len(row) == 3, row
        assert row[1], row


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_glossary_is_linked(document):
    assert "(docs/glossary.md)" in (ROOT / document).read_text()


def test_words_that_the_glossary_replaces_do_not_occur():
    found = [
        f"{file.relative_to(ROOT)}:{number}: `{word}`: write {instead}"
        for file in list_texts()
        for number, word, instead in find_banned(file.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "what lies about: strangers in the queue",
        "a dossier of a campaign",
        "the fleet is gone",
        "an operator's levers",
        "in vain waited for",
        "it was produced elsewise",
        "mend the path",
        "proc9 is no campaign",
        "a campaign that is held is let be",
    ],
)
def test_a_banned_word_is_found(text):
    assert find_banned(text)


@pytest.mark.parametrize(
    "text",
    [
        "there is no campaign proc9",
        "the campaign is no longer declared",
        'described |= {"what": what, "mend": remedy}',
        "`b2prod verify --strangers`",
        "brakes: Admission = field(default_factory=Admission)",
    ],
)
def test_what_is_allowed_is_not_found(text):
    assert not find_banned(text)
