"""The data store: the event at hand, the metadata of the file at hand, and what was registered."""

from __future__ import annotations

from typing import Any

from double_facts import FACTS


class FileMetaData:
    """What a file says of itself. Without any, data count as simulated.

    `declareRealData` is private in basf2 (framework/dataobjects/include/FileMetaData.h, the line that the facts name), and
    PyROOT has private methods as Python has its own: by the name of the class in front.
    """

    def __init__(self, said: dict[str, Any] | None = None) -> None:
        self.said = {"isMC": True, **(said or {})}

    def __declareRealData(self) -> None:
        self.said["isMC"] = False


class Map(dict[str, int]):
    """A std::map as Python sees it."""

    def count(self, key: str) -> int:
        return int(key in self)


class SoftwareTriggerResult:
    """Line and result: after the prescale, or a pair of that and the one before it."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results = results

    def getResults(self) -> Map:
        return Map({line: take_result(found) for line, found in self.results.items()})

    def getNonPrescaledResults(self) -> Map:
        assert "getNonPrescaledResults" in FACTS["classes"]["Belle2.SoftwareTriggerResult"]["members"]
        return Map({line: found[1] for line, found in self.results.items()})


def take_result(found: Any) -> int:
    """The result after the prescale."""
    return int(found[0] if isinstance(found, list) else found)


class Store:
    """`registered`: branches of the event; `metadata_registered` and `metadata` are of the persistent object."""

    def __init__(self) -> None:
        self.initializing, self.chained, self.seed = True, True, ""
        self.event: dict[str, Any] | None = None
        self.registered: set[str] = set()
        self.metadata_registered = False
        self.metadata: FileMetaData | None = None
        self.history: list[str] = []
        self.ask: list[str] = []


STORE = Store()
