"""The values of lists: what each may be written as, and what is refused."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.ledger.schema.file_tables import removals
from reconciler.ledger.schema.tables import files, products
from reconciler.run_catalogue.lists.values import (
    CHECKSUMS,
    COUNT_LIMIT,
    list_spellings,
    read_checksum,
    read_count,
    read_label,
    read_path,
    read_real,
    read_time,
    spell_checksum,
)

BLANK = [None, "", "  ", "\t"]


@pytest.mark.parametrize(
    "read",
    [
        lambda value: read_count("events", value),
        lambda value: read_real("luminosity", value),
        lambda value: read_time("start", value),
        lambda value: read_label("quality", value, ("good",)),
        lambda value: read_path("name", value, 10),
        read_checksum,
    ],
)
@pytest.mark.parametrize("value", BLANK)
def test_what_is_blank_is_not_known(read, value):
    assert read(value) is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("816", 816),
        (" 816 ", 816),
        ("816.0", 816),
        ("816.", 816),
        ("00529", 529),
        (816, 816),
        (816.0, 816),
        ("0", 0),
        ("999999999999999999", COUNT_LIMIT),
    ],
)
def test_a_whole_number_may_be_written_so(value, number):
    assert read_count("events", value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(
            "-99",
            "-99.0",
            "-1",
            "-0",
            "+5",
            "1_000",
            "1,000",
            "1 000",
            "1'000",
            "８１６",
            "٨١٦",
            "²",
            "1e3",
            "816.5",
        ),
        *(
            "816.00000000000000000001",
            "0x10",
            "nan",
            "inf",
            "1000000000000000000",
            "8" * 5000,
            "?",
            "NULL",
            "true",
        ),
        *(-1, -1.0, 816.5, math.nan, math.inf, 2.0**53, 10**18, 10**400, True, False, [], {}, "5\n6", "5\0"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_count_is_refused_and_shown(value):
    with pytest.raises(ValueError, match=r"^events .*( is not a count| is beyond |Exceeds)"):
        read_count("events", value)


@given(st.text(st.sampled_from("0123456789._-+eE ,'x１"), max_size=8))
def test_a_count_is_what_its_digits_say_and_nothing_else(text):
    try:
        number = read_count("events", text)
    except ValueError:
        return
    if number is not None:
        assert re.fullmatch(r" *0*(\d+?)(\.0*)? *", text, re.ASCII)[1] == str(number)


@pytest.mark.parametrize(
    "value",
    [
        "2019-01-05T12:00:00Z",
        "2019-01-05 12:00:00",
        "2019-01-05T21:00:00+0900",
        "2019-01-05T21:00:00+09:00",
        "2019-01-05 21:00 +0900",
        "2019-01-05T21+09"[:13] + ":00+09",
        "2019-01-05T12:00Z",
        "2019-01-05T12:00",
        " 2019-01-05T12:00:00.25Z ",
        "2019-01-05T06:30:00-05:30",
    ],
)
def test_a_time_may_be_written_so(value):
    assert read_time("start", value) == "2019-01-05T12:00:00Z"


@pytest.mark.parametrize(
    "value",
    [
        *(
            "about noon",
            "never",
            "2019-01-05",
            "12:00:00",
            "2019-02-30T00:00:00Z",
            "2019-01-05T25:00:00Z",
            "-99",
        ),
        *("2019-01-05T12:00:60Z", "05.01.2019 12:00", "2019-01-05T12:00:00 JST", "2019-01-05T12:00:00+9:00"),
        *(
            "２019-01-05T12:00:00Z",
            "2019-01-05T12:00:00+25:00",
            "0001-01-01T00:00:00+09:00",
            "2019-1-5T12:00:00",
        ),
        *("2019-01-05T12:00:00Z?", 1546689600, True, "2019-01-05T12:00:00+09:60", "20190105T120000Z"),
    ],
    ids=str,
)
def test_what_is_no_time_is_refused(value):
    with pytest.raises(ValueError, match=r"^start .* is not a time; write it as in 2019-01-05T12:00:00Z"):
        read_time("start", value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("503.5", 503.5), ("5.035e2", 503.5), (".5", 0.5), ("0", 0), (7, 7), ("1e-3", 0.001)],
)
def test_a_real_number_may_be_written_so(value, number):
    assert read_real("luminosity", value) == number


@pytest.mark.parametrize(
    "value",
    ["-5", "nan", "inf", "1_000", "５", "503,5", "much", "1e400", "1e-400", True, [], 10**400, "0x1p3", "-0"],
)
def test_what_is_no_real_number_is_refused(value):
    with pytest.raises(ValueError, match="luminosity"):
        read_real("luminosity", value)


@pytest.mark.parametrize(
    ("value", "checksum"),
    [
        ("adler32:0a1b2c3d", "adler32:0a1b2c3d"),
        ("adler32:0A1B2C3D", "adler32:0a1b2c3d"),
        ("ADLER32:0a1b2c3d", "adler32:0a1b2c3d"),
        (" adler32:a1b2c3d ", "adler32:0a1b2c3d"),
        ("adler32:b2c3d", "adler32:000b2c3d"),
        *(
            (f"{name}:{'9F' * (digits // 2)}", f"{name}:{'9f' * (digits // 2)}")
            for name, digits in CHECKSUMS.items()
        ),
    ],
)
def test_a_checksum_is_written_in_one_way(value, checksum):
    assert read_checksum(value) == checksum
    assert spell_checksum(value.strip()) == checksum


def test_every_checksum_fits_the_columns_that_keep_it():
    most = max(len(f"{name}:") + digits for name, digits in CHECKSUMS.items())
    for table in (files, removals, products):
        assert table.c.checksum.type.length >= most


@given(st.integers(0, 2**32 - 1))
def test_an_adler32_is_found_however_its_zeros_were_kept(value):
    padded = f"adler32:{value:08x}"
    assert set(list_spellings(padded)) == {padded, f"adler32:{value:x}"}


@pytest.mark.parametrize(
    "value",
    [
        *("0a1b2c3d", "adler32:", "adler32:0a", "adler32:0a1b2c3", "adler32:b2c3", "adler32:00a1b2c3d", "adler32:0a1b2c3g"),
        *("adler32=0a1b2c3d", "adler32:0x0a1b2c", "sha3:0a1b2c3d", f"md5:{'a' * 31}", f"md5:{'a' * 33}", f"sha256:{'a' * 63}"),
        *(f"sha1:{'a' * 40}", f"sha512:{'a' * 128}", "crc32:0a1b2c3d", "adler32:０a1b2c3d", "adler32: 0a1b2c3d", "md5:adler32:0a1b2c3d", 12345678),
        *("'adler32:0a1b2c3d'", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_checksum_of_its_algorithm_is_refused(value):
    with pytest.raises(ValueError, match=r"^checksum .* (is not written as|has|is of none)"):
        read_checksum(value)


def test_a_label_has_one_spelling_and_no_remark():
    labels = ("4S", "4S_offres")
    assert read_label("beam energy", " 4s_OFFRES", labels) == "4S_offres"
    for wrong in ("4S (scan)", "４S", "4ſ", True, ["4S"], 4):
        with pytest.raises(ValueError, match="none of 4S, 4S_offres"):
            read_label("beam energy", wrong, labels)


@pytest.mark.parametrize("value", ["x" * 11, " x", "x\t", "a\0b", "\ud800", 5, ["x"]])
def test_a_path_that_cannot_be_kept_as_it_is_is_refused(value):
    with pytest.raises(ValueError, match="name"):
        read_path("name", value, 10)
