"""Several skims over one input."""

from __future__ import annotations

from double_facts import bind
from double_modules import add_plain
from mdst import write_mdst


class CombinedSkim:
    def __init__(self, *skims, **named):
        self.skims, self.options = skims, bind("skim.core.CombinedSkim", **named)

    def __call__(self, path):
        if not self.options["mdstOutput"]:
            for skim in self.skims:
                skim(path)
            return
        for skim in self.skims:
            assert skim.mc is False
            add_plain(path, skim.name)
        named = dict(self.options["mdst_kwargs"])
        write_mdst(
            path=path,
            filename=self.options["OutputFileName"],
            additionalBranches=named.pop("additionalBranches", []),
            dataDescription=named.pop("dataDescription", None),
            mc=named.pop("mc", True),
            more=["EventExtraInfo"],
        )
        assert not named
