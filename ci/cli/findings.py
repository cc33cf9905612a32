"""Findings for people and for forges: text, JSON, GitLab's code quality, GitHub's annotations, SARIF."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from urllib.parse import quote

from schemas.files.canonical import digest
from schemas.findings.finding import Finding, Place


def format_text(findings: Sequence[Finding]) -> str:
    """One paragraph per finding: place, code and message, then the hint."""
    return "".join(
        f"{finding.place}: {finding.code} {finding.message}\n"
        + (f"    {finding.hint}\n" if finding.hint else "")
        for finding in findings
    )


def format_json(findings: Sequence[Finding]) -> str:
    """A JSON list of objects with code, file, line, column, message and hint."""
    return json.dumps([_describe(finding) for finding in findings], indent=2) + "\n"


def format_gitlab(findings: Sequence[Finding]) -> str:
    """GitLab's code quality report (the subset of Code Climate's format that GitLab reads)."""
    issues = [
        {
            "description": _join(finding),
            "check_name": finding.code,
            "fingerprint": digest(_describe(finding)),
            "severity": "major",
            "location": {"path": finding.place.file, "lines": {"begin": finding.place.line}},
        }
        for finding in findings
    ]
    return json.dumps(issues, indent=2) + "\n"


def format_github(findings: Sequence[Finding]) -> str:
    """GitHub's workflow commands, one annotation per line."""
    return "".join(
        f"::error file={_escape(finding.place.file, properties=True)},line={finding.place.line},"
        f"col={finding.place.column},title={finding.code}::{_escape(_join(finding))}\n"
        for finding in findings
    )


def format_sarif(findings: Sequence[Finding]) -> str:
    """A SARIF 2.1.0 log."""
    from schemas.findings.codes import CODES  # noqa: PLC0415 -- every command loads this module, and few write such a log

    codes = sorted({finding.code for finding in findings})
    rules = [
        {
            "id": code,
            "shortDescription": {"text": CODES[code].title},
            "fullDescription": {"text": CODES[code].rule},
            "help": {"text": f"Why: {CODES[code].why}"},
        }
        for code in codes
    ]
    results = [
        {
            "ruleId": finding.code,
            "ruleIndex": codes.index(finding.code),
            "level": "error",
            "message": {"text": _join(finding)},
            "locations": [{"physicalLocation": _locate(finding.place)}],
            "partialFingerprints": {"finding/1": digest(_describe(finding))},
        }
        for finding in findings
    ]
    tool = {"driver": {"name": "b2prod", "rules": rules}}
    run = {"tool": tool, "columnKind": "unicodeCodePoints", "results": results}
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


MOST = 1000
"""The largest number of findings that is written; the others are counted."""


def _shorten(write: Callable[[Sequence[Finding]], str]) -> Callable[[Sequence[Finding]], str]:
    def write_first(findings: Sequence[Finding]) -> str:
        if len(findings) > MOST:
            message = f"and {len(findings) - MOST:,} more findings"
            rest = Finding(findings[MOST].place, "BP107", message, "correct these first")
            findings = [*findings[:MOST], rest]
        return write(findings)

    return write_first


FORMATS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "text": _shorten(format_text),
    "json": _shorten(format_json),
    "gitlab": _shorten(format_gitlab),
    "codequality": _shorten(format_gitlab),
    "github": _shorten(format_github),
    "sarif": _shorten(format_sarif),
}


def _describe(finding: Finding) -> dict[str, str | int]:
    return {"code": finding.code, **asdict(finding.place), "message": finding.message, "hint": finding.hint}


def _locate(place: Place) -> dict[str, object]:
    region = {"startLine": place.line, "startColumn": place.column}
    return {"artifactLocation": {"uri": quote(place.file)}, "region": region}


def _join(finding: Finding) -> str:
    return f"{finding.message}; {finding.hint}" if finding.hint else finding.message


def _escape(text: str, *, properties: bool = False) -> str:
    for character in "%\r\n" + (":," if properties else ""):
        text = text.replace(character, f"%{ord(character):02X}")
    return text
