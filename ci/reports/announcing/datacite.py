"""The DataCite metadata of an edition, for whoever mints a DOI for it: the JSON of DataCite's schema 4.5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ci.cli.console import count_things
from ci.reports.announcing.edition_note import format_note
from schemas.manifest.runs import list_experiments, parse_runs

SCHEMA = "http://datacite.org/schema/kernel-4"


@dataclass(frozen=True, slots=True)
class Minting:
    """What only people know: who made the data, who publishes them, and DOIs as far as they are minted.

    `doi` is that of the edition, `before` that of the edition that it is compared with; None while there is none.
    """

    collaboration: str
    publisher: str
    doi: str | None = None
    before: str | None = None


def describe_datacite(told: Mapping[str, Any], value: str, minting: Minting) -> dict[str, Any]:
    """The metadata of the edition of a note, whose JSON data are `told`, and `value` is its digest.

    The year is the one in which the edition was frozen.
    """
    edition = told["edition"]
    dataset, _, number = edition["name"].rpartition(":")
    runs = list(parse_runs(told["runs"]))
    experiments = ", ".join(map(str, list_experiments(runs)))
    title = f"{minting.collaboration}: {dataset}, edition {number}"
    abstract = (
        f"{count_things(edition['runs'], 'run')} of experiment {experiments}: {told['runs']}."
        f" The edition is an immutable list of files; its digest is {edition['digest']}."
    )
    described = {
        "schemaVersion": SCHEMA,
        "creators": [{"name": minting.collaboration, "nameType": "Organizational"}],
        "titles": [{"title": title, "lang": "en"}],
        "publisher": {"name": minting.publisher},
        "publicationYear": edition["frozen"][:4],
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": _name_type(edition)},
        "version": number,
        "language": "en",
        "dates": [{"date": edition["frozen"], "dateType": "Created"}],
        "alternateIdentifiers": [
            {"alternateIdentifier": edition["name"], "alternateIdentifierType": "edition"},
            {"alternateIdentifier": edition["digest"], "alternateIdentifierType": "sha256"},
        ],
        "sizes": _list_sizes(edition),
        "formats": ["application/x-root"],
        "descriptions": [
            {"description": abstract, "descriptionType": "Abstract", "lang": "en"},
            {"description": format_note(told, value), "descriptionType": "TechnicalInfo", "lang": "en"},
        ],
        **_relate(told, minting),
    }
    return described if minting.doi is None else {"doi": minting.doi, **described}


def _name_type(edition: Mapping[str, Any]) -> str:
    """The data level of an edition, or the skim that it is."""
    made = edition["made_with"][0] if edition["made_with"] else {}
    return str(made.get("skim") or made.get("level") or "events")


def _list_sizes(edition: Mapping[str, Any]) -> list[str]:
    events = f"{'at least ' if edition['uncounted'] else ''}{count_things(edition['events'], 'event')}"
    counted = [] if edition["uncounted"] == edition["runs"] else [events]
    return [*counted, count_things(edition["files"], "file"), f"{edition['bytes']} bytes"]


def _relate(told: Mapping[str, Any], minting: Minting) -> dict[str, Any]:
    """That an edition is a new version of the one before: by its DOI, or by its name if it has none."""
    if "against" not in told:
        return {}
    relation = {"relationType": "IsNewVersionOf"}
    if minting.before is not None:
        one = {**relation, "relatedIdentifier": minting.before, "relatedIdentifierType": "DOI"}
        return {"relatedIdentifiers": [one]}
    title = {"title": told["against"]["name"]}
    return {"relatedItems": [{**relation, "relatedItemType": "Dataset", "titles": [title]}]}
