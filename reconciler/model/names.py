"""The names of attempts, of batches, of the folders of outputs, and of our own folders in a storage."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.work_items import WorkItem
from schemas.manifest.campaign import Campaign
from schemas.manifest.layout import Layout
from schemas.manifest.runs import split_key
from schemas.manifest.step import Step


def name_attempt(ledger: str, item: WorkItem, number: int) -> str:
    """The name of an attempt. It is unique for ever, so that the job can be found by its name after a crash.

    `ledger` is the ledger's id; `item` has an intent and one job; `number` counts the job's attempts from 1.
    """
    experiment, run = split_key(item.run)
    unit = f"{item.campaign.name}-{item.step.path}-e{experiment}r{run}"
    return f"b2p-{ledger[:4]}-{unit}-j{item.job.key[:8]}-i{item.intent}-a{number}"


def name_batch(ledger: str, campaign: str, step: Step, digest: str) -> str:
    """The name of a batch; `digest` is the digest of its attempts' names, in their order."""
    return f"b2p-{ledger[:4]}-{campaign}-{step.path}-b{digest[:16]}"


def name_folder(item: WorkItem, output: str, version: int) -> str:
    """The folder of one version of an output of a prepared work item, relative to the site's storage."""
    assert item.layout is not None
    return fill_folder(item.layout, item.campaign, item.step, item.run, output, version, item.place)


def fill_folder(
    layout: Layout,
    campaign: Campaign,
    step: Step,
    run: int,
    output: str,
    version: int,
    place: Mapping[str, str],
) -> str:
    """The folder of one version of an output of a unit; `place` has the fields that the run and the global tag give."""
    experiment, number = split_key(run)
    fields = {**campaign.describe_output(step, output), **place, "version": f"v{version}"}
    return layout.fill({**fields, "experiment": f"e{experiment:04d}", "run": f"r{number:05d}"})


TRASH, TOMBSTONES, SCRATCH = ".b2prod-trash", ".b2prod-tombstones", ".b2prod-recall"
"""Folders of a storage: what may come back, the records of what was deleted, and what comes from tape before it is compared."""


def name_aside(folder: str, fingerprint: bytes, version: int) -> str:
    """The folder in the trash of an output of `folder`, in which other versions and outputs may lie."""
    return f"{TRASH}/{folder}/{fingerprint.hex()[:16]}-v{version}"


RECORD_PREFIX = ".b2prod."


def name_manifest(output: str, version: int) -> str:
    """The name of the manifest beside a version of an output, by which the catalogue of files knows it."""
    return f"b2prod.{output}.v{version}.json"


def name_record(output: str, version: int) -> str:
    """The name of the record beside a version of an output; hidden, so that a listing of the folder shows only data."""
    return f"{RECORD_PREFIX}{output}.v{version}.json"
