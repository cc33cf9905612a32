"""The registry of skims: two of them."""

from __future__ import annotations

from double_facts import bind
from double_modules import add_plain

CODES = {"TwoTrackLeptonsForLuminosity": "18530100", "DstToD0Pi_D0ToHpJm": "17240100", "Charm": "99000100"}


class Skim:
    """A skim of udst; of simulated data unless it is told otherwise."""

    mc = True

    def __init__(self, name, **named):
        given = bind("skim.core.BaseSkim", **named)
        self.name, self.file = name, given["OutputFileName"]
        self.description = given["additionalDataDescription"]

    def __call__(self, path):
        assert self.mc is False
        add_plain(path, self.name)
        path.add_module(
            "RootOutput",
            outputFileName=self.file,
            branchNames=["Tracks", "Particles"],
            additionalDataDescription={"dataLevel": "udst", **(self.description or {})},
        )


class Registry:
    @staticmethod
    def encode_skim_name(SkimName):
        return CODES[SkimName]

    @staticmethod
    def get_skim_function(SkimName):
        assert SkimName in CODES
        return lambda **options: Skim(SkimName, **options)
