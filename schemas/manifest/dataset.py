"""Names of datasets: what a step makes over all runs (`proc8/reco/mdst`), and the files of the detector (`detector/raw`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

DETECTOR = "detector"
"""The first word of the datasets that the detector wrote: `detector/raw` and `detector/sroot`."""
UNASSIGNED = "unassigned"
"""The first word of the datasets of files of which nobody said whose they are: `unassigned/mdst`."""
HOLDERS = frozenset({DETECTOR, UNASSIGNED})
"""First words of names that no campaign has."""

RAW_LEVELS = ("raw", "sroot")
"""The data levels of the detector's datasets."""

DATASET_LENGTH = 200
"""The largest length of a name."""

_MADE = re.compile(
    r"(?P<campaign>[A-Za-z0-9][A-Za-z0-9_.+-]{0,39})"
    r"/(?P<step>[a-z][a-z0-9_]{0,23}(?:@[A-Za-z0-9_.+-]{1,63})?)"
    r"(?:/(?P<output>[A-Za-z0-9][A-Za-z0-9_-]{0,63}))?"
    r"(?::(?P<edition>[1-9][0-9]{0,8}))?",
    re.ASCII,
)

_LEVEL = re.compile(r"[a-z]{3,6}", re.ASCII)

DATASET_FORM = "CAMPAIGN/STEP/OUTPUT, as in prod6/skims/hlt_bhabha"


@dataclass(frozen=True, slots=True)
class DatasetName:
    """The name of a dataset, or of one of its editions.

    `step` includes the variant, as in `cdst@adc2e-7`. For `detector/raw` the step is empty. `output` is empty if the name is that
    of a step that writes several skims. `edition` is None for the head.
    """

    campaign: str
    step: str
    output: str
    edition: int | None = None

    @property
    def dataset(self) -> str:
        """The name without the edition."""
        return "/".join(filter(None, (self.campaign, self.step, self.output)))

    @property
    def is_held(self) -> bool:
        """Whether its files are the detector's or nobody's, and no campaign has them."""
        return self.campaign in HOLDERS

    @property
    def is_detectors(self) -> bool:
        """Whether it is a dataset of the detector."""
        return self.campaign == DETECTOR

    def __str__(self) -> str:
        return self.dataset if self.edition is None else f"{self.dataset}:{self.edition}"


def parse_dataset(text: str) -> DatasetName:
    """The name in `text`: `CAMPAIGN/STEP[@VARIANT]/OUTPUT[:EDITION]`, `CAMPAIGN/STEP`, `detector/LEVEL` or `unassigned/LEVEL`.

    Raises:
        ValueError: the text is not a name of a dataset; the message says what one is.
    """
    match = _MADE.fullmatch(text)
    if match is None and (name := text.rpartition(":")[0]) and _MADE.fullmatch(name) and ":" not in name:
        wanted = f"the editions of {name} have numbers from 1, as in {name}:1"
        raise ValueError(f"{text[:DATASET_LENGTH]!r} is not a name of a dataset: {wanted}")
    if match is None or len(text) > DATASET_LENGTH:
        raise ValueError(f"{text[:DATASET_LENGTH]!r} is not a name of a dataset: it is {DATASET_FORM}")
    campaign, step, output, edition = match.group("campaign", "step", "output", "edition")
    number = None if edition is None else int(edition)
    if campaign not in HOLDERS:
        return DatasetName(campaign, step, output or "", number)
    legal = step in RAW_LEVELS if campaign == DETECTOR else _LEVEL.fullmatch(step)
    if output or not legal:
        raise ValueError(f"{text} is not a name of a dataset: {campaign} has one for each of its data levels")
    return DatasetName(campaign, "", step, number)


def name_dataset(campaign: str, step: str, output: str) -> str:
    """The name of the dataset of a step's output."""
    return f"{campaign}/{step}/{output}"


def hold_level(level: str) -> str:
    """The dataset of files of a data level of which nobody said whose they are: the detector's for raw data."""
    return f"{DETECTOR if level in RAW_LEVELS else UNASSIGNED}/{level}"
