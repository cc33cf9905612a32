"""Watched sources of a site: where runs, files and running tags come from, and how often each is asked."""

from __future__ import annotations

from dataclasses import dataclass

EVERY = 60
"""The default number of minutes from one question to the next."""

QUIET = 10
"""The default number of minutes for which a file must not have changed."""


@dataclass(frozen=True, slots=True)
class RunSource:
    """A source of runs: the run database at the address `rundb`, or the run list at the path `list`.

    `experiment` is that of all its runs; None means that the list states it. `every` and `quiet` are minutes.
    """

    rundb: str | None = None
    list: str | None = None
    experiment: int | None = None
    quiet: int = QUIET
    every: int = EVERY

    @property
    def what(self) -> str:
        """What comes from where, in words; it is the source's name at its site."""
        of = "" if self.experiment is None else f" experiment {self.experiment}"
        return f"runs of {self.rundb or self.list}{of}"

    @property
    def path(self) -> str | None:
        """The path of its list, or None."""
        return self.list


@dataclass(frozen=True, slots=True)
class FileSource:
    """A source of files: all files of events below `folder`, or those of the list at the path `list`.

    `level` and `dataset` are theirs, if a list does not say others; without a dataset, raw data are the detector's, and other
    files nobody's yet. `every` and `quiet` are minutes.
    """

    level: str
    folder: str | None = None
    list: str | None = None
    dataset: str | None = None
    quiet: int = QUIET
    every: int = EVERY

    @property
    def what(self) -> str:
        """What comes from where, in words; it is the source's name at its site."""
        return f"{self.level} files of {self.path}"

    @property
    def path(self) -> str:
        """The path of its folder or list."""
        return self.folder or self.list or ""


@dataclass(frozen=True, slots=True)
class RunningTagSource:
    """The conditions database at the address `follow`, for the running tags of all live campaigns; `every` is minutes."""

    follow: str
    every: int = EVERY

    @property
    def what(self) -> str:
        """What comes from where, in words; it is the source's name at its site."""
        return f"running tags of {self.follow}"


@dataclass(frozen=True, slots=True)
class SiteSources:
    """The watched sources of a site."""

    runs: tuple[RunSource, ...] = ()
    files: tuple[FileSource, ...] = ()
    tags: RunningTagSource | None = None
