"""The names under which things are found again: attempts, and the folders of outputs."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.work_items import WorkItem
from schemas.manifest.campaign import Campaign
from schemas.manifest.layout import Layout
from schemas.manifest.runs import split_key
from schemas.manifest.step import Step


def name_attempt(ledger: str, campaign: str, step: Step, run: int, job: str, intent: int, number: int) -> str:
    """The name that an attempt bears everywhere: unique for ever, and found again by it after a crash.

    `ledger` is the ledger's id, `run` a run key, `job` the job's key, `number` counts the job's attempts from 1.
    """
    experiment, number_of_run = split_key(run)
    unit = f"{campaign}-{step.path}-e{experiment}r{number_of_run}"
    return f"b2p-{ledger[:4]}-{unit}-j{job[:8]}-i{intent}-a{number}"


def name_batch(ledger: str, campaign: str, step: Step, digest: str) -> str:
    """The name of a batch; `digest` is that of the names of its attempts, in their order."""
    return f"b2p-{ledger[:4]}-{campaign}-{step.path}-b{digest[:16]}"


def name_folder(order: WorkItem, output: str, version: int) -> str:
    """The folder of one version of an output of an order, relative to the site's storage."""
    return fill_folder(order.layout, order.campaign, order.step, order.run, output, version, order.place)


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
    return layout.fill(
        {
            **campaign.describe_output(step, output),
            **place,
            "experiment": f"e{experiment:04d}",
            "run": f"r{number:05d}",
            "version": f"v{version}",
        }
    )


RECORD_PREFIX = ".b2prod."


def name_record(output: str, version: int) -> str:
    """The name of the record beside a version of an output; hidden, so that who lists the folder sees data."""
    return f"{RECORD_PREFIX}{output}.v{version}.json"
