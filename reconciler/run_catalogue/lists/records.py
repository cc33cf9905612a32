"""Records of a table: rows of cells. A quoted cell may hold separators, line ends and doubled quotes.

The form is RFC 4180, with more separators and line ends. A cell is quoted if its first character after blanks is a quote.
A quote further inside is an ordinary character.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, count, repeat
from operator import itemgetter
from typing import Any, NamedTuple

from reconciler.run_catalogue.lists.values import is_blank

SEPARATORS: Mapping[str, str] = {"tab": "\t", "comma": ",", "semicolon": ";", "bar": "|", "blanks": " "}
"""The separators between cells. `blanks` means any number of blanks and tabs."""

_DECLARED = re.compile(r"sep=([,;|\t])", re.IGNORECASE)
"""The line above the header by which spreadsheets declare the separator."""

BLOCK = 2**15
"""The length of a piece of text that is tried as one block: long enough to gain, short enough that one bad row costs little."""

_QUOTED = r'"([^"]*+(?:""[^"]*+)*+)"'


class Row(NamedTuple):
    """One row of a source: the line where it begins, or its number, and its values by the names of the columns.

    `broken` says what is wrong with the whole row; then `values` must not be used. `text` is the row as written.
    """

    line: int
    names: tuple[str, ...]
    values: Sequence[object]
    broken: str | None
    text: str


class Block(NamedTuple):
    """Rows of a table in lines next to each other, all of them whole and without quotes; `columns` are their cells by column.

    Nearly all rows of long lists come in blocks. What judges a column at a time takes a third of the time that rows take.
    """

    line: int
    names: tuple[str, ...]
    columns: Sequence[Sequence[str]]
    lines: Sequence[str]

    def list_rows(self) -> Iterator[Row]:
        """The rows of the block, one by one."""
        for line, text, values in zip(
            count(self.line), self.lines, zip(*self.columns, strict=True), strict=False
        ):
            yield Row(line, self.names, values, None, text)


class QuoteError(ValueError):
    """Wrong quotes. `closed` is the position where the quoted text ends, or None if it does not end."""

    def __init__(self, message: str, closed: int | None = None) -> None:
        super().__init__(message)
        self.closed = closed


def read_table(
    text: str,
    needed: Mapping[str, Collection[str]],
    known: Mapping[str, Collection[str]],
    separator: str | None = None,
    *,
    comments: bool = True,
) -> Iterator[Row]:
    """The rows of the table in `text`, one by one; see `read_blocks`."""
    for found in read_blocks(text, needed, known, separator, comments=comments):
        if isinstance(found, Block):
            yield from found.list_rows()
        else:
            yield found


def read_blocks(
    text: str,
    needed: Mapping[str, Collection[str]],
    known: Mapping[str, Collection[str]],
    separator: str | None = None,
    *,
    comments: bool = True,
) -> Iterator[Row | Block]:
    """The rows of the table in `text`, in blocks where that is possible.

    The first line with content is the header; rows without content are left out.
    `needed` are the columns that must be there, each with all its names; `known` are further ones. The separator is the
    one by which the header has the needed columns, then most known ones, then most columns; blanks are used only if no
    other fits. A header with one column has no separator: then each line is one cell.
    With `comments`, lines that begin with `#` are not read. A row with too many or too few cells is broken.

    Raises:
        ValueError: the header lacks a needed column, or has two with the same name, or its quotes are wrong.
        QuoteError: the end of a record is not certain.
    """
    begin, line, declared = _find_header(text, comments=comments)
    given, ending = separator or declared, find_ending(text)
    every = {*chain(*needed.values(), *known.values())}
    headers: list[tuple[str, tuple[str, ...], int]] = []
    problem: QuoteError | None = None
    for candidate in SEPARATORS.values() if given is None else (given,):
        try:
            cells, end = _split(text, begin, line, candidate, ending)
            headers.append((candidate, tuple(cell.strip().lower() for cell in cells), end))
        except QuoteError as error:
            problem = error

    def find_lacking(names: tuple[str, ...]) -> list[str]:
        return [column for column, possible in needed.items() if not {*possible}.intersection(names)]

    def judge(header: tuple[str, tuple[str, ...], int]) -> tuple[bool, bool, int, int]:
        candidate, names, _ = header
        return not find_lacking(names), candidate != " ", len(every.intersection(names)), len(names)

    found, names, end = max(headers, key=judge, default=("", (), begin))
    if lacking := find_lacking(names):
        shown = ", ".join(name for name in names if name)[:200]
        raise problem or ValueError(f"its header (line {line}) has no column `{lacking[0]}`; it has: {shown}")
    for name in names:
        if name and names.count(name) > 1:
            raise ValueError(f"its header (line {line}) has two columns `{name}`; name one of them otherwise")
    width = len(names)
    between = found if width > 1 or given is not None else ""
    first = line + text.count(ending, begin, end)
    for found_rows in _read_records(text, end, first, between, names, comments=comments):
        if isinstance(found_rows, Block):
            yield found_rows
            continue
        number, cells, written, flaw = found_rows
        if len(cells) == width and flaw is None:
            if cells[0] or any(map(str.strip, cells)):
                yield Row(number, names, cells, None, written)
        elif flaw or any(map(str.strip, cells)):
            yield Row(number, names, (), flaw or f"{len(cells)} cells instead of {width}", written)


def _find_header(text: str, *, comments: bool) -> tuple[int, int, str | None]:
    """Returns the position of the first line with content, its number, and the separator that is declared above it."""
    declared = None
    for number, begin, line in read_lines(text):
        said = _DECLARED.fullmatch(line)
        if said:
            declared = said[1]
        elif line.strip(" \t,;|") and not (comments and line.startswith("#")):
            return begin, number, declared
    raise ValueError("it has no header")


def read_lines(text: str) -> Iterator[tuple[int, int, str]]:
    """For each line of a text: its number, its position, and its text without the line end."""
    ending = find_ending(text)
    begin, size, number = 0, len(text), 0
    while begin < size:
        number += 1
        end = text.find(ending, begin)
        end = size if end < 0 else end
        yield number, begin, text[begin:end].removesuffix("\r")
        begin = end + 1


def find_ending(text: str) -> str:
    r"""The line end of a text: `\n`, which may follow an `\r`; or `\r` alone, if the first line ends with it.

    If lines end with `\n`, an `\r` inside a line is an ordinary character, and vice versa.
    """
    carriage, feed = text.find("\r"), text.find("\n")
    return "\r" if carriage >= 0 and (feed < 0 or carriage + 1 < feed) else "\n"


def _read_records(
    text: str, begin: int, number: int, separator: str, names: tuple[str, ...], *, comments: bool
) -> Iterator[Block | tuple[int, list[str], str, str | None]]:
    """For each record from the position `begin` in line `number`: its line, cells, text, and what is wrong with it; or blocks.

    A record is wrong if text follows a closing quote. It ends with its line if the quotes of the line are paired.
    """
    size, ending, carriage = len(text), find_ending(text), "\r" in text
    wrong: int | None = None
    tried = begin if ending == "\n" else size
    while begin < size:
        if begin >= tried:
            tried = (text.rfind(ending, begin, begin + BLOCK) if begin + BLOCK < size else size - 1) + 1
            piece = text[begin:tried]
            if (block := _take_block(piece, number, separator, names, comments=comments)) is not None:
                yield block
                begin, number = tried, number + len(block.lines)
                continue
        end = text.find(ending, begin)
        line = text[begin:end] if end >= 0 else text[begin:]
        if carriage and line.endswith("\r"):
            line = line[:-1]
        start, first = begin, number
        begin, number = end + 1 if end >= 0 else size, number + 1
        if not line or line.isspace() or (comments and line[0] == "#"):
            continue
        if '"' not in line:  # nearly all lines; the expression below is five times slower
            cells = line.split(separator if separator != " " else None) if separator else [line]
            yield first, cells, line, None
            continue
        paired = line.count('"') % 2 == 0
        try:
            cells, after = _split(text, start, first, separator, ending)
        except QuoteError as error:
            if not paired or error.closed is None or error.closed > begin:
                raise
            wrong = first
            yield first, [], line, str(error)
            continue
        if after > begin:
            number += text.count(ending, begin, after)
            begin = after
        elif wrong and not paired:
            raise QuoteError(
                f"the quotes in line {first} do not pair, and those in line {wrong} are wrong,"
                " so it is not sure which lines are of one record"
            )
        yield first, cells, text[start:after].rstrip("\r\n"), None


def _take_block(
    piece: str, number: int, separator: str, names: tuple[str, ...], *, comments: bool
) -> Block | None:
    r"""The rows of a piece of text that begins in line `number`; None if they must be read one by one.

    That is the case for lines with quotes or of comments, without content, or with another number of cells, and where some
    line does not end with `\n` or `\r\n`.
    """
    if '"' in piece or separator in ("", " ") or (comments and (piece[:1] == "#" or "\n#" in piece)):
        return None
    if "\r" in piece:
        piece = piece.replace("\r\n", "\n")
    lines, width = piece.removesuffix("\n").split("\n"), len(names)
    if "\r" in piece or {*map(str.count, lines, repeat(separator))} != {width - 1}:
        return None
    cells = separator.join(lines).split(separator)  # all lines at once takes half the time
    columns = [cells[place::width] for place in range(width)]
    return Block(number, names, columns, lines) if all(map(str.strip, columns[0])) else None


def _split(text: str, begin: int, line: int, separator: str, ending: str) -> tuple[list[str], int]:
    """Returns the cells of the record that begins at a position in `line`, and the position of the next record."""
    match = _compile(separator, ending).match
    cells: list[str] = []
    at = begin
    while True:
        found = match(text, at)
        if found is None:
            raise _explain(text, begin, line, at, ending)
        quoted, plain, more = found.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if more is None:
            return cells, at


@cache
def _compile(separator: str, ending: str) -> re.Pattern[str]:
    """A cell, quoted or not, and the separator behind it, which is missing at the end of the record."""
    end = r"\r?\n|\r?\Z" if ending == "\n" else r"\r|\Z"
    if separator == " ":
        blank = rf"[^\S{ending}]"
        return re.compile(rf'{blank}*+(?:{_QUOTED}|(?!")(\S*+))(?:{blank}*+(?:{end})|({blank}++))')
    between = re.escape(separator) if separator else r"(?!)"
    padding = "[ ]*+" if separator == "\t" else r"[ \t]*+"
    others = rf"[^{separator and between}\r\n]*+" if ending == "\n" else rf"[^{separator and between}\r]*+"
    plain = rf"{others}(?:\r(?!\n|\Z){others})*+" if ending == "\n" else others
    return re.compile(rf'(?:{padding}{_QUOTED}{padding}|(?!{padding}")({plain}))(?:{end}|({between}))')


def _explain(text: str, begin: int, line: int, at: int, ending: str) -> QuoteError:
    """The error in the quotes of the cell at the position `at`, in the record that begins at `begin` in `line`."""

    def locate(place: int) -> str:
        column = place - text.rfind(ending, 0, place)
        return f"line {line + text.count(ending, begin, place)}, column {column}"

    opened = text.index('"', at)
    quoted = re.compile(_QUOTED).match(text, opened)
    if quoted is None:
        where = locate(opened)
        return QuoteError(f"the quote that opens in {where}, is not closed; close it, or write it twice")
    message = f"text follows the quote that closes in {locate(quoted.end() - 1)}; write a quote in a quoted cell twice"
    return QuoteError(message, quoted.end())


class Columns:
    """Takes the values of some columns from rows. `names` maps each column to all names that it may have."""

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names
        self._seen: tuple[str, ...] | None = None
        self._take: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple
        self._several: Sequence[tuple[int, str, tuple[int, ...]]] = ()

    def take(self, row: Row) -> tuple[Any, ...]:
        """The values of the columns, in their order; None if the row has no such column.

        Raises:
            ValueError: the row is broken, or has several columns with the same meaning and different values.
        """
        if row.broken is not None:
            raise ValueError(row.broken)
        if (
            row.names is not self._seen
        ):  # once for each table: searching the names in each row is slower than everything else
            self._find(row.names)
        values = self._take((*row.values, None))
        return self._choose(row, values) if self._several else values

    def take_block(self, block: Block) -> tuple[Any, ...] | None:
        """As `take`, the cells of the columns instead of values; None if several columns have the same meaning."""
        if block.names is not self._seen:
            self._find(block.names)
        return None if self._several else self._take((*block.columns, None))

    def _find(self, names: tuple[str, ...]) -> None:
        places = [
            tuple(place for place, name in enumerate(names) if name in possible)
            for possible in self._names.values()
        ]
        self._take = itemgetter(*(there[0] if there else -1 for there in places))
        self._several = [
            (number, column, there)
            for number, (column, there) in enumerate(zip(self._names, places, strict=True))
            if len(there) > 1
        ]
        self._seen = names

    def _choose(self, row: Row, values: tuple[Any, ...]) -> tuple[Any, ...]:
        chosen = list(values)
        for number, column, places in self._several:
            stated = [row.values[place] for place in places if not is_blank(row.values[place])]
            if any(one != stated[0] for one in stated):
                pairs = ((row.names[place], str(row.values[place])[:40]) for place in places)
                shown = " and ".join(f"{name} {value!r}" for name, value in pairs)
                raise ValueError(f"{column} is stated twice: {shown}")
            chosen[number] = stated[0] if stated else None
        return tuple(chosen)
