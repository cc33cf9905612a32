"""Tables in every dialect: what was written is what is read, or it is refused, and nothing is swallowed."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.run_catalogue.lists.records import SEPARATORS, QuoteError, read_table
from tests.support.inputs.delimited_tables import BETWEEN, ENDINGS, texts, write


def read(text, separator=None, **options):
    rows = read_table(text, {"run": ("run",)}, {"type": ("type",)}, separator, **options)
    return [list(row.values) if row.broken is None else row for row in rows]


@given(
    st.lists(st.tuples(st.integers(0, 99).map(str), texts, texts), min_size=1, max_size=6),
    st.sampled_from(BETWEEN),
    st.sampled_from(ENDINGS),
    st.booleans(),
    st.booleans(),
)
@example([("1", "", ""), ("2", " a", "b ")], "\t", "\n", False, False)
def test_what_was_written_in_any_dialect_is_what_is_read(rows, between, ending, every, last):
    header = ("run", "type", 'remark, if; any|\tand "when"')
    text = write([header, *rows], between, ending, every=every)
    text = text if last else text.removesuffix(ending)
    assert read(text) == [list(row) for row in rows]
    assert read(text, between) == [list(row) for row in rows]


@given(
    st.lists(st.tuples(st.integers(0, 99).map(str), texts, texts), min_size=1, max_size=6),
    st.sampled_from(BETWEEN),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_standard_library_writes_is_read_or_refused(rows, between, ending, quoting):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=between, lineterminator=ending, quoting=quoting)
    writer.writerows([("run", "type", "remark"), *rows])
    # it leaves an \r at the end of an unquoted cell, which is then of the line's end
    expected = [
        [*row[:2], row[2].removesuffix("\r") if ending == "\n" and quoting == csv.QUOTE_MINIMAL
         and not set(row[2]) & {'"', between, "\n"} else row[2]]
        for row in rows
    ]  # fmt: skip
    assert read(stream.getvalue()) == expected


@given(st.lists(st.lists(st.text("ab1.,;é", min_size=1, max_size=4), min_size=3, max_size=3), max_size=5))
def test_blanks_of_any_number_separate_where_the_header_has_nothing_else(rows):
    text = "run  type\tremark\n" + "".join(f"  {a} \t{b}   {c} \r\n" for a, b, c in rows)
    assert read(text) == rows


@given(st.text(st.sampled_from('ab,";\n\r #1'), max_size=40), st.sampled_from([*SEPARATORS.values(), None]))
def test_whatever_the_text_is_each_line_is_of_one_record_or_the_list_is_refused(rest, separator):
    text = f"run,type\n{rest}"
    try:
        rows = list(read_table(text, {"run": ("run",)}, {"type": ("type",)}, separator))
    except ValueError:
        return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    lines = [line.rstrip("\r") for line in text.split("\n")[1:]]
    content = {line for line in lines if line.strip(' ,;\t\r"') and line[0] != "#"}
    told = {line.rstrip("\r") for row in rows for line in row.text.split("\n")}
    assert content <= told


def test_a_row_with_too_many_or_too_few_cells_is_broken_in_the_line_where_it_begins():
    text = 'run,type,remark\n1,a,"two\nlines"\n2,a\n\n# none\n3,a,"x\ny",z\n,,\n4,a,b\n'
    first, short, long, last = read(text)
    assert (first, last) == (["1", "a", "two\nlines"], ["4", "a", "b"])
    assert [(row.line, row.broken, row.text) for row in (short, long)] == [
        (4, "2 cells instead of 3", "2,a"),
        (7, "4 cells instead of 3", '3,a,"x\ny",z'),
    ]


def test_a_tab_is_never_skipped_and_an_empty_cell_stays_one():
    assert read("run\ttype\tremark\n4\t\t2\t1\n5\t\t1 restart\n")[1] == ["5", "", "1 restart"]
    assert read("run\ttype\tremark\n4\t\t2\t1\n")[0].broken == "4 cells instead of 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('run,type\n1,a\n2,"b\n3,c\n4,d\n', "quote that opens in line 3, column 3, is not closed"),
        ('run,type\n1,a\n2,"b\n3,"c"\n', "text follows the quote that closes in line 4, column 3"),
        ('run,type\n1,x"y","b\n2,a\n', "quote that opens in line 2, column 8, is not closed"),
        ('run,type\n1,"the "log":\n2,b\nend"\n', "text follows the quote that closes in line 2, column 8"),
        (
            'run,type\n1,"the "log:\n2,b\nend"\n',
            "quotes in line 4 do not pair, and those in line 2 are wrong",
        ),
    ],
)
def test_a_list_whose_quotes_leave_open_where_records_end_is_refused_with_the_place(text, message):
    with pytest.raises(QuoteError, match=message):
        read(text)


def test_a_quote_that_was_not_written_twice_refuses_its_row_alone_where_the_line_is_whole():
    bad, good = read('run,type\n1,"he said "off" and left"\n2,b\n')
    assert (bad.line, bad.text) == (2, '1,"he said "off" and left"')
    assert "text follows the quote that closes in line 2, column 12" in bad.broken
    assert good == ["2", "b"]


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("run,type", ","),
        ("type of, day;run;y", ";"),
        ("run\ttype of run, and day", "\t"),
        ("| run | type |", "|"),
        ("run type", " "),
        ("sep=|\nrun|a,b,c,d", "|"),
        ('"run";"a,b,c,d"', ";"),
    ],
)
def test_the_separator_is_found_by_the_columns_that_it_gives(header, separator):
    row = header.splitlines()[-1]
    assert read(f"{header}\n{row}\n") == list(csv.reader([row], delimiter=separator))


def test_below_a_header_with_one_column_each_line_is_a_cell():
    assert read("run\n1,2;3\n") == [["1,2;3"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no header"),
        ("\n# only\n", "no header"),
        ("type,day\n", "line 1.* has no column `run`; it has: type, day"),
        ("\n\nrun,type, Type\n", "line 3.* has two columns `type`"),
        ('run,"type\n', "line 1, column 5, is not closed"),
    ],
)
def test_a_header_that_is_none_is_told(text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_where_paths_stand_first_no_line_is_a_comment():
    assert read("run\n#1.root\n", comments=False) == [["#1.root"]]
