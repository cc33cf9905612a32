"""Tables as text with any separator, line end and quotes."""

from __future__ import annotations

from hypothesis import strategies as st

BETWEEN = [",", ";", "\t", "|"]
ENDINGS = ["\n", "\r\n", "\r"]
texts = st.text(st.sampled_from("ab1é#'\" ,;|\t\n\r.-\x0b\x85\u2028"), max_size=6)


def write(rows, between, ending, *, every):
    """The table as in RFC 4180; quotes are around all cells with `every`, else only where they are needed."""

    def cell(text):
        needs = every or any(c in f'"{between}\r\n' for c in text)
        return '"{}"'.format(text.replace('"', '""')) if needs else text

    return "".join(between.join(map(cell, row)) + ending for row in rows)
