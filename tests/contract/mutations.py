"""Answers of commands as they come on a bad day: cut, empty, translated, of another form, with notices, of another command."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import replace

from reconciler.outside.command import Reply

NOTICES = (
    "Service downtime 2024-01-10 06:00-12:00 UTC, see the e-log.\n",
    "There are no files on tape during the downtime, and no productions will be started.\n",
    "No job found to be urgent will be lost in the downtime; job 101 is not found in the tables today.\n",
    "Bitte warten: der Dienst ist bis 12:00 nicht erreichbar.\n",
    "*** Authorized use only. All activity is monitored. ***\n",
    "please wait ...\n",
    "2024\n",
    "10|PENDING\n",
    "\x1b[1mJOBID\x1b[0m news\n",
    "Warning: the certificate expires in 3 days\n",
)
PAGES = (
    "<html><head><title>503 Service Unavailable</title></head><body><h1>503</h1><p>No server</p></body></html>\n",
    "<!DOCTYPE html>\n<html>\n<body>\n<table><tr><td>101</td><td>RUN</td></tr></table>\n</body>\n</html>\n",
    '{"error": "busy", "rows": null}\n',
    '{"message": "no jobs", "RECORDS": null, "JOBS": "many"}\n',
    "[]\n",
    "{}\n",
    "null\n",
    "0\n",
    '[{"TransformationID": 29655, "Status": "Running"}]\n',
    "Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\nKeyError: 'JobID'\n",
    "<bound method Dataset.list of 0x7f>\n",
    "command not found\n",
    "\x00\x00\x00\x00",
    "﻿\n",
    "\n\n\n",
)
WORDS = {
    "JOBID": "AUFTRAG",
    "JobID": "AuftragsID",
    "STATE": "ZUSTAND",
    "State": "Zustand",
    "STAT": "STATUS",
    "REASON": "GRUND",
    "NAME": "BEZEICHNUNG",
    "Name": "Bezeichnung",
    "RECORDS": "ZEILEN",
    "JOBS": "AUFTRÄGE",
    "rows": "zeilen",
    "logs": "protokolle",
    "queue size": "Warteschlange",
    "RUNNING": "LÄUFT",
    "Running": "läuft",
    "COMPLETED": "FERTIG",
    "submitted": "eingereicht",
    "found": "gefunden",
}


def mutate(draw: random.Random, text: str, others: Sequence[str]) -> str:
    """The text after one to three things that went wrong; `others` are what other commands say."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        text = draw.choice(_WAYS)(draw, text, others)
    return text


def mutate_reply(draw: random.Random, reply: Reply, others: Sequence[str]) -> Reply:
    """The reply with another text, and in some cases with another status."""
    out = mutate(draw, reply.out, others)
    status = draw.choice((reply.status, reply.status, reply.status, 0, 0, 1, 255, None))
    error = draw.choice((reply.error, reply.error, draw.choice(NOTICES), draw.choice(PAGES)))
    return replace(reply, out=out, status=status, error=error)


def _cut(draw, text, _):
    return text[: draw.randrange(len(text) + 1)]


def _cut_line(draw, text, _):
    lines = text.splitlines(keepends=True)
    return "".join(lines[: draw.randrange(len(lines) + 1)])


def _lose_beginning(draw, text, _):
    return text[draw.randrange(len(text) + 1) :]


def _empty(*_):
    return ""


def _drop(draw, text, _):
    return "".join(line for line in text.splitlines(keepends=True) if draw.random() < 0.6)


def _shuffle(draw, text, _):
    if text.lstrip()[:1] in ("{", "["):  # values that changed places are other values
        return _cut(draw, text, _)
    lines = text.splitlines(keepends=True)
    draw.shuffle(lines)
    return "".join(lines)


def _repeat(draw, text, _):
    return text[: draw.randrange(len(text) + 1)] + text


def _translate(draw, text, _):
    for word, other in WORDS.items():
        if draw.random() < 0.5:
            text = text.replace(word, other)
    return text


def _replace(draw, _, others):
    return draw.choice((*PAGES, *NOTICES, *others))


def _notice_before(draw, text, _):
    return draw.choice(NOTICES) + text


def _notice_after(draw, text, _):
    return text + draw.choice(NOTICES)


def _notice_between(draw, text, _):
    lines = text.splitlines(keepends=True)
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(NOTICES))
    return "".join(lines)


def _permute(draw, text, _):
    """Columns in another order, the same in each line."""
    mark = "|" if "|" in text else None
    count = max((len(line.split(mark)) for line in text.splitlines()), default=0)
    order = list(range(count))
    draw.shuffle(order)
    made = []
    for line in text.splitlines(keepends=True):
        fields = line.rstrip("\n").split(mark)
        made.append((mark or "  ").join(fields[place] for place in order if place < len(fields)))
        made.append(line[len(line.rstrip("\n")) :])
    return "".join(made)


def _other_marks(draw, text, _):
    return text.replace("|", draw.choice((" ", ",", "\t", " | "))).replace(
        "\n", draw.choice(("\n", "\r\n", ""))
    )


def _other_case(draw, text, _):
    return draw.choice((text.upper(), text.lower(), text.swapcase()))


def _spoil(draw, text, _):
    """Bytes that were no text."""
    if not text:
        return text
    place = draw.randrange(len(text))
    return text[:place] + draw.choice(("�", "\x00", "\r", " ")) + text[place + 1 :]


def _as_json(draw, text, _):
    rows = [line.split() for line in text.splitlines()]
    return json.dumps(
        draw.choice((rows, {"rows": rows}, {"RECORDS": rows}, text)), indent=draw.choice((None, 1))
    )


def _as_page(draw, text, _):
    return f"<html><body><pre>{text}</pre></body></html>\n"


def _lose_values(draw, text, _):
    """Values of JSON that are null, or of another kind."""
    return re.sub(r": (\"[^\"]*\"|\d+)", lambda found: found[0] if draw.random() < 0.8 else ": null", text)


_WAYS = (
    *(_cut, _cut, _cut, _cut_line, _lose_beginning, _empty, _drop, _drop, _shuffle, _repeat, _translate),
    *(
        _replace,
        _replace,
        _notice_before,
        _notice_after,
        _notice_between,
        _permute,
        _other_marks,
        _other_case,
    ),
    *(_spoil, _as_json, _as_page, _lose_values),
)
