"""Pull requests that grow: valid files with sizes, depths, counts and repetitions pushed up, of at most 1 MB packed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ci.cli.exits import Exit
from tests.support.tables.promised_bounds import MARGIN, PROMISED_BYTES, PROMISED_SECONDS
from tests.support.worlds.history import make_history

HOUSE = Path(__file__).parents[2]
PACKED = 1_000_000
UNPACKED = 100_000_000
"""Bytes of a grown file: what git makes of 1 MB may be more, but needs no other way to be refused."""
SHARE = 25
TREES = int(os.environ.get("B2PROD_TREES", "50"))
"""How many trees are grown, in tests of `SHARE` each; `nox -s fuzz` grows 500."""

INSERTED = (
    "#", "\t", " ", "\n", "'", '"', "\\", "- ", "? ", ": ", "&a ", "*a ", "[", "{", "[]", "{}", "[[", "a: {", ",", "!!",
    "|", ">", "%", "@", "`", "0", "9", "é", "\u202e", "\x00", "\r\n", "---\n", "...\n", "<<: ", "\ufeff", "1-", "*", ".",
)  # fmt: skip


def repeat_lines(text: str, place: int, count: int, spice: str) -> str:
    lines = text.splitlines(keepends=True) or [spice]
    first = place % len(lines)
    block = "".join(lines[first : first + 1 + count % 7])
    return "".join(lines[:first]) + block * count + "".join(lines[first:])


def repeat_all(text: str, place: int, count: int, spice: str) -> str:
    return text * count


def insert(text: str, place: int, count: int, spice: str) -> str:
    where = place % (len(text) + 1)
    return text[:where] + spice * count + text[where:]


def stretch_word(text: str, place: int, count: int, spice: str) -> str:
    words = list(re.finditer(r"[\w.-]+", text))
    if not words:
        return text
    word = words[place % len(words)]
    return text[: word.start()] + word[0] * count + text[word.end() :]


def nest(text: str, place: int, count: int, spice: str) -> str:
    words = list(re.finditer(r"[\w.-]+", text))
    word = words[place % len(words)] if words else re.match("", text)
    opening, closing = (("[", "]"), ("{a: ", "}"), ("[{a: ", "}]"), ("(", ")"))[place % 4]
    return text[: word.start()] + opening * count + word[0] + closing * count + text[word.end() :]


def number_lines(text: str, place: int, count: int, spice: str) -> str:
    """A line many times, each with another number in the place of its first word."""
    lines = text.splitlines(keepends=True) or ["a: 1\n"]
    first = place % len(lines)
    before, word, after = re.fullmatch(r"(?s)(\W*)(\w*)(.*)", lines[first]).groups()
    made = (f"{before}{word}{number}{after}" for number in range(count))
    return "".join((*lines[:first], *made, *lines[first:]))


def number_items(text: str, place: int, count: int, spice: str) -> str:
    words = list(re.finditer(r"[\w.-]+", text))
    word = words[place % len(words)] if words else re.match("", text)
    items = ", ".join(f"{word[0]}{number}" for number in range(count))
    return f"{text[: word.start()]}[{items}]{text[word.end() :]}"


GROWTHS = (repeat_lines, repeat_all, insert, stretch_word, nest, number_lines, number_items)


def read_valid() -> dict[str, str]:
    """The manifests of this repository: campaigns, locks, menus, snapshots, policy and more, all of them valid."""
    listed = subprocess.run(
        ["git", "-C", HOUSE, "ls-files", "-z", "productions"], capture_output=True, text=True, check=True
    )
    return {name: (HOUSE / name).read_text() for name in listed.stdout.split("\0") if name}


VALID = read_valid()


@st.composite
def grown(draw: st.DrawFn) -> dict[str, str]:
    """Files of a change: some that are there, grown; and copies of them under other names."""
    changed: dict[str, str] = {}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(VALID)))
        text = changed.get(name, VALID[name])
        growth, place = draw(st.sampled_from(GROWTHS)), draw(st.integers(0, 1 << 20))
        count, spice = int(10 ** draw(st.floats(0, 6.5))), draw(st.sampled_from(INSERTED))
        room = max(1, UNPACKED // (len(text) + 20)) if growth is repeat_all else UNPACKED // 100
        made = growth(text, place, min(count, room), spice)
        while len(made) > UNPACKED or len(zlib.compress(made.encode(), 1)) > PACKED // 4:
            count //= 4
            made = growth(text, place, min(count, room), spice)
        changed[name] = made
        if draw(st.booleans()):
            number = min(
                draw(st.integers(1, 3000)), PACKED // 4 // (len(zlib.compress(made.encode(), 1)) + 100)
            )
            number = min(number, UNPACKED // (len(made) + 1))
            folder, slash, file = name.rpartition("/")
            changed |= {f"{folder}{n}{slash}{file}": made for n in range(number // 2)}
            changed |= {f"{folder}{slash}{n}{file}": made for n in range(number - number // 2)}
    return changed


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "tests.support.services.answering"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=HOUSE, text=True, **pipes) as process:

        def ask(*arguments: object) -> tuple[int, float, int]:
            process.stdin.write(json.dumps([str(one) for one in arguments]) + "\n")
            process.stdin.flush()
            while not (line := process.stdout.readline()).startswith("["):
                assert process.poll() is None
            return tuple(json.loads(line))

        yield ask


@pytest.mark.slow
@pytest.mark.parametrize("share", range(TREES // SHARE))
def test_s34_whatever_grows_is_answered_in_bounded_time_and_memory(server, tmp_path, share):
    history = make_history(tmp_path / "origin", {name: text.encode() for name, text in VALID.items()})
    base = history.git("rev-parse", "HEAD")

    @seed(share)
    @settings(
        max_examples=SHARE,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(changed=grown())
    def answer(changed: dict[str, str]) -> None:
        history.git("read-tree", base)
        history.git("reset", "-q", "--hard", base)
        history.git("clean", "-qfdx")
        head = history.commit("grown", **{name: text.encode() for name, text in changed.items()})
        for verb in ("check", "review"):
            code, seconds, memory = server("--root", history.root, verb, "--base", base, "--head", head)
            said = f"{verb}: exit {code}, {seconds:.1f} s, {memory / 2**20:.0f} MB"
            assert code in (Exit.FINE, Exit.CHANGES, Exit.FINDINGS, Exit.USAGE, Exit.UNAVAILABLE), said
            assert seconds < PROMISED_SECONDS * MARGIN, said
            assert memory < PROMISED_BYTES, said

    answer()
