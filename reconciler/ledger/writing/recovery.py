"""Recovery: writes published outputs into a ledger that lacks them, from the records beside their files."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, and_, select

from reconciler.ledger.reading.output_records import OutputRecord, digest_nonce
from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import (
    attempts,
    batches,
    intents,
    jobs,
    outputs,
    payload_buckets,
    payload_sets,
    products,
)
from reconciler.ledger.writing.dataset_sums import record_made
from reconciler.ledger.writing.journal import Journal
from reconciler.ledger.writing.produced_keys import record_keys
from reconciler.ledger.writing.transaction import Writer
from reconciler.ledger.writing.unit_rows import describe_payloads, store_recipe
from reconciler.model.states import COMING, LIVE, AttemptState, IntentState, OutputState
from reconciler.model.work_items import USAGE
from renderer.identity.payloads import PayloadSet
from schemas.files.canonical import canonical_json, digest

AT_ONCE = 200
"""Number of units that are written in one transaction."""

THERE = "its outputs were found where they are published"
"""The reason for ending attempts whose outputs are published already."""


@dataclass(frozen=True, slots=True)
class PublishedOutput:
    """An output that was found in a storage, with its record."""

    storage: str
    record: OutputRecord


class Recovery:
    """Writes published outputs that were found. An interrupted recovery can be repeated."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def adopt(self, found: Iterable[PublishedOutput]) -> int:
        """Takes outputs over as produced, with their versions. Returns the number of outputs."""
        groups: dict[tuple[str, int], list[PublishedOutput]] = {}
        for one in found:
            groups.setdefault((one.record.data["ledger"], one.record.data["intent"]), []).append(one)
        for part in divide(groups.values(), AT_ONCE):
            with self._writer.writing() as journal:
                for group in part:
                    self._adopt(journal, group)
        return sum(map(len, groups.values()))

    def reserve(self, found: Iterable[PublishedOutput], reason: str) -> int:
        """Marks versions of outputs as used, so that new outputs get other places. Returns the number of versions."""
        count = 0
        with self._writer.writing() as journal:
            for one in found:
                if _find_output(journal, one.record) is not None:
                    continue
                intent = self._insert_intent(journal, one.record, IntentState.ABANDONED, reason)
                journal.insert(outputs, [_describe_output(journal, intent, one, OutputState.ABANDONED)])
                count += 1
        return count

    def keep_payloads(self, found: Iterable[PayloadSet]) -> None:
        """Stores payload sets with which outputs were made."""
        with self._writer.writing(polling=True) as journal:
            for one in found:
                buckets, whole = describe_payloads(one)
                journal.insert_new(payload_buckets, buckets)
                journal.insert_new(payload_sets, [whole])

    def _adopt(self, journal: Journal, group: Sequence[PublishedOutput]) -> None:
        """Takes over outputs that were made together: with the intent that the ledger has for them, else with a new one."""
        places: dict[int | None, list[tuple[PublishedOutput, int | None]]] = {}
        for published in group:
            row = _find_output(journal, published.record)
            places.setdefault(row and row.intent, []).append((published, row and row.id))
        for intent, members in places.items():
            records = [one.record for one, _ in members]
            fingerprints = {record.fingerprint for record in records}
            _give_up_rivals(journal, records[0].address[0], fingerprints, intent)
            if intent is None:
                number = self._insert_intent(journal, records[0], IntentState.PRODUCED, None)
            else:
                number = intent
                _abandon(journal, number, IntentState.PRODUCED, None)
            names = self._insert_attempts(journal, number, records)
            _end_others(journal, number)
            taken = set()
            for one, known in members:
                values = _describe_output(journal, number, one, OutputState.PRODUCED)
                if known is None:
                    (output,) = journal.insert(outputs, [values])
                else:
                    output = known
                    journal.update(outputs, outputs.c.id == output, values)
                _insert_products(journal, output, one.record, names)
                taken.add(output)
            record_made(journal.connection, taken, produced=True)
            record_keys(journal.connection, taken, produced=True)

    def _insert_intent(
        self, journal: Journal, record: OutputRecord, state: IntentState, reason: str | None
    ) -> int:
        unit = {key: record.data[key] for key in ("campaign", "step", "experiment", "run")}
        approval = record.data.get("approval")
        row = {**unit, "plan": self._writer.plan, "state": state, "reason": reason and reason[:500]}
        (number,) = journal.insert(intents, [{**row, "approval": approval}])
        return number

    def _insert_attempts(
        self, journal: Journal, intent: int, records: Sequence[OutputRecord]
    ) -> dict[str, int]:
        """Writes the attempts that made these outputs, as verified. Returns attempt name in the records → id."""
        found: dict[str, int] = {}
        due: dict[str, dict[str, str]] = {}
        for record in records:
            for file in record.data["files"]:
                due.setdefault(file["attempt"], {})[record.data["output"]] = file["name"]
        told = {one["attempt"]: one for record in records for one in record.data["jobs"]}
        for name, one in sorted(told.items()):
            job = _find_job(journal, intent, one, due.get(name, {}))
            values = {
                **dict.fromkeys(("failure", "reason", "cancel", "unknown")),
                "state": AttemptState.VERIFIED,
                "ended": one["ended"],
                **{name: one.get(name) for name in USAGE},
                "events_read": one.get("events_read"),
                "record": json.dumps(one["record"], sort_keys=True) if one.get("record") else None,
            }
            row = journal.connection.execute(select(attempts).where(attempts.c.name == name)).first()
            mark = one.get("nonce", "")
            if row is not None and row.job == job and mark in ("", digest_nonce(row.nonce)):
                journal.update(attempts, attempts.c.id == row.id, values)
                found[name] = row.id
                continue
            # a ledger that was restored from an older copy may have used the name again
            called = name if row is None else f"{name[:111]}-{mark[:16] or secrets.token_hex(8)}"
            numbers = select(attempts.c.number).where(attempts.c.job == job)
            taken = set(journal.connection.scalars(numbers))
            new = {
                **values,
                "job": job,
                "number": one["number"] if one["number"] not in taken else max(taken) + 1,
                "name": called,
                "nonce": secrets.token_hex(16),
                "site": one["site"],
                "reference": one.get("reference"),
                "begun": one["begun"],
                "batch": _find_batch(journal, one),
                "place": 0,
                "fence": self._writer.fence,
                "absences": 0,
            }
            (found[name],) = journal.insert(attempts, [new])
        return found


def _give_up_rivals(
    journal: Journal, campaign: str, fingerprints: Iterable[bytes], intent: int | None
) -> None:
    """Abandons other intents for the same outputs, because these exist."""
    same = (outputs.c.campaign == campaign, outputs.c.fingerprint.in_(fingerprints))
    query = select(outputs.c.intent).where(*same, outputs.c.state.in_(COMING))
    for rival in set(journal.connection.scalars(query)) - {intent}:
        _abandon(journal, rival, IntentState.ABANDONED, THERE)
        _end_others(journal, rival)


def _abandon(journal: Journal, intent: int, state: IntentState, reason: str | None) -> None:
    """Abandons the outputs of an intent that are not published; the intent gets `state`."""
    journal.update(intents, intents.c.id == intent, {"state": state, "reason": reason})
    coming = and_(outputs.c.intent == intent, outputs.c.state.in_(COMING))
    journal.update(outputs, coming, {"state": OutputState.ABANDONED})


def _end_others(journal: Journal, intent: int) -> None:
    mine = attempts.c.job.in_(select(jobs.c.id).where(jobs.c.intent == intent))
    live = and_(mine, attempts.c.state.in_(LIVE), attempts.c.cancel.is_(None))
    journal.update(attempts, live, {"cancel": THERE})


def _insert_products(journal: Journal, output: int, record: OutputRecord, names: Mapping[str, int]) -> None:
    known = set(journal.connection.scalars(select(products.c.path).where(products.c.output == output)))
    for file in record.data["files"]:
        values = {key: file.get(key) for key in ("size", "checksum", "events", "rows", "kind")}
        values["attempt"] = names[file["attempt"]]
        if file["name"] in known:
            at = and_(products.c.output == output, products.c.path == file["name"])
            journal.update(products, at, values)
        else:
            journal.insert(products, [{"output": output, "path": file["name"], **values}])


def _find_output(journal: Journal, record: OutputRecord) -> Any:
    unit = ("campaign", "step", "experiment", "run", "output", "version")
    at = and_(*(outputs.c[name] == record.data[name] for name in unit))
    return journal.connection.execute(select(outputs).where(at)).first()


def _find_job(journal: Journal, intent: int, told: Mapping[str, Any], due: Mapping[str, str]) -> int:
    row = {"failures": 0, "events": told["events"], "due": json.dumps(dict(sorted(due.items())))}
    return _find_row(journal, jobs, {"intent": intent, "key": told["key"]}, row)


def _find_batch(journal: Journal, told: Mapping[str, Any]) -> int | None:
    if not (name := told.get("batch")):
        return None
    origin = canonical_json(told.get("origin", {})).decode()
    row = {"site": told["site"], "engine": told.get("engine"), "origin": origin}
    return _find_row(journal, batches, {"name": name}, row)


def _find_row(journal: Journal, table: Table, key: Mapping[str, Any], others: Mapping[str, Any]) -> int:
    """The number of the row with a key; if there is none, it is added with the other values."""
    at = (table.c[name] == value for name, value in key.items())
    known: int | None = journal.connection.execute(select(table.c.id).where(*at)).scalar()
    if known is None:
        (known,) = journal.insert(table, [{**key, **others}])
    return known


def _describe_output(
    journal: Journal, intent: int, published: PublishedOutput, state: OutputState
) -> dict[str, Any]:
    data = published.record.data
    counts = [file["events"] for file in data["files"]]
    unit = ("campaign", "step", "experiment", "run", "output", "version", "input", "conditions")
    return {
        **{name: data[name] for name in unit},
        "intent": intent,
        "fingerprint": published.record.fingerprint,
        "recipe": store_recipe(journal, digest(data["recipe"]), data["recipe"]),
        "state": state,
        "storage": published.storage,
        "folder": data["folder"],
        "events": None if None in counts else sum(counts),
        "events_read": data["events_read"],
        "produced": max(job["ended"] for job in data["jobs"]),
    }
