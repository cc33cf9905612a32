"""Raw data in the DAQ's sequential format: events as basf2 prints them, and every cut that it refuses is refused."""

from __future__ import annotations

import contextlib
import gzip
import json
import lzma
import struct
import zlib

import cramjam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderer.event_data.root_file import InputError
from renderer.event_data.sroot_file import read_sroot
from renderer.event_data.sroot_parts import read_part
from tests.support.inputs.damaged_sroot import damage

HEADER = 72


@pytest.fixture(scope="module")
def sroot(shared_data):
    """The real file: its bytes."""
    return (shared_data / "belle2" / "sroot" / "seqroot_input.sroot").read_bytes()


@pytest.fixture(scope="module")
def records(shared_data):
    """The records that it has, as basf2 prints them."""
    return json.loads((shared_data / "belle2" / "sroot" / "seqroot_input.events.json").read_text())["records"]


def read(tmp_path, content, name="a.sroot"):
    """Experiment, run and event of each event of a file with that content."""
    path = tmp_path / name
    path.write_bytes(content)
    return [
        event
        for chunk in read_sroot(path, name)
        for event in zip(
            *(chunk.columns[key].tolist() for key in ("experiment", "run", "event")), strict=True
        )
    ]


def list_expected(records):
    return [(one["experiment"], one["run"], one["event"]) for one in records if one["type"] == "EVENT"]


def test_the_events_of_a_real_file_are_those_that_basf2_prints(tmp_path, sroot, records):
    found = read(tmp_path, sroot)
    assert found == list_expected(records)
    assert (len(found), len({event for *_, event in found})) == (27, 18), (
        "what stands there twice counts twice"
    )
    assert read(tmp_path, gzip.compress(sroot), "a.sroot.gz") == found


def test_each_way_of_cutting_or_damaging_the_real_file_is_told(tmp_path, sroot, records):
    for what, (name, content, said) in damage(sroot, records).items():
        with pytest.raises(InputError) as told:
            read(tmp_path, content, name)
        assert said in str(told.value), what
    with pytest.raises(InputError, match=r"nosuch\.sroot cannot be read: No such file"):
        list(read_sroot(tmp_path / "nosuch.sroot", "nosuch.sroot"))


@given(data=st.data())
@settings(max_examples=200)
def test_a_file_that_is_cut_anywhere_within_a_record_is_refused(tmp_path_factory, sroot, records, data):
    ends = {one["offset"] + one["size"] for one in records}
    place = data.draw(st.integers(1, len(sroot) - 1).filter(lambda one: one not in ends))
    with pytest.raises(InputError):
        read(tmp_path_factory.getbasetemp(), sroot[:place])


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=300)
def test_whatever_is_changed_in_a_file_it_is_read_or_refused(tmp_path_factory, sroot, data):
    changed = bytearray(sroot)
    headers = st.integers(0, 400) | st.integers(5142, 5500) | st.integers(0, len(sroot) - 1)
    for place in data.draw(st.lists(headers, min_size=1, max_size=6)):
        changed[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        assert 0 < len(read(tmp_path_factory.getbasetemp(), bytes(changed))) <= 27


def test_a_size_that_leads_elsewhere_is_noticed_at_the_next_record(tmp_path, sroot, records):
    """Every record's size but the last's, one byte more or less."""
    for one in records[:-1]:
        for step in (-1, 1):
            changed = bytearray(sroot)
            struct.pack_into("<I", changed, one["offset"], one["size"] + step)
            with pytest.raises(InputError):
                read(tmp_path, bytes(changed))


def pack(sroot, records, code, compress, mark=0xBEEFED01):
    """The file as releases write it since headers have a version, its records compressed."""
    parts = []
    for one in records:
        record = sroot[one["offset"] : one["offset"] + one["size"]]
        header, body = bytearray(record[:HEADER]), record[HEADER:]
        packed = compress(body)
        block = (
            code + bytes([8]) + len(packed).to_bytes(3, "little") + len(body).to_bytes(3, "little") + packed
        )
        struct.pack_into("<I", header, 0, HEADER + len(block))
        struct.pack_into("<I", header, 32, 1)
        struct.pack_into("<I", header, 68, mark)
        parts.append(bytes(header) + block)
    return b"".join(parts)


COMPRESSIONS = {
    b"ZL": zlib.compress,
    b"XZ": lzma.compress,
    b"ZS": lambda body: bytes(cramjam.zstd.compress(body)),
    b"L4": lambda body: bytes(8) + bytes(cramjam.lz4.compress_block(body, store_size=False)),
}


@pytest.mark.parametrize("code", COMPRESSIONS, ids=bytes.decode)
def test_records_are_unpacked_where_their_header_says_so(tmp_path, sroot, records, code):
    packed = pack(sroot, records, code, COMPRESSIONS[code])
    assert read(tmp_path, packed) == list_expected(records)
    with pytest.raises(InputError, match=r"bears a mark, unlike the first|lacks the mark"):
        read(tmp_path, packed + sroot[records[1]["offset"] :])
    broken = bytearray(packed)
    broken[records[0]["offset"] + HEADER + 9 : records[0]["offset"] + HEADER + 29] = bytes(20)
    with pytest.raises(InputError, match=r"compressed block|cannot be unpacked|holds none"):
        read(tmp_path, bytes(broken))


@pytest.mark.parametrize("code", COMPRESSIONS, ids=bytes.decode)
def test_a_record_that_unpacks_to_more_than_it_states_is_refused(tmp_path, sroot, records, code):
    compress = COMPRESSIONS[code]
    bomb = pack(sroot, records[:2], code, lambda body: compress(body + bytes(20_000_000)))
    with pytest.raises(InputError, match=r"damaged: record 1.* compressed block"):
        read(tmp_path, bomb)


def test_what_a_gzip_file_unpacks_to_has_a_limit(tmp_path, sroot, monkeypatch):
    monkeypatch.setattr("renderer.event_data.sroot_file._MOST_UNPACKED", 50_000)
    with pytest.raises(InputError, match=r"unpacks to more than 50,000 bytes"):
        read(tmp_path, gzip.compress(sroot), "a.sroot.gz")


def test_a_number_beyond_what_basf2_holds_is_refused(tmp_path, sroot, records):
    """In this file, numbers are stored in 8 bytes: the event 2 becomes 2 + 2**32."""
    place = sroot.index(struct.pack(">QQQQ", 2, 1, 0, 0), records[1]["offset"])
    changed = bytearray(sroot)
    struct.pack_into(">Q", changed, place, 2 + 2**32)
    with pytest.raises(InputError, match=r"states the event 4294967298, which there cannot be"):
        read(tmp_path, bytes(changed))


@pytest.mark.parametrize(
    ("name", "number", "before", "after"),
    [
        ("a.sroot", 0, None, "a.sroot-1"),
        ("a.sroot.gz", 0, None, "a.sroot-1.gz"),
        ("a.sroot-1", 1, "a.sroot", "a.sroot-2"),
        ("a.sroot-10.gz", 10, "a.sroot-9.gz", "a.sroot-11.gz"),
    ],
)
def test_the_parts_of_a_set_name_one_another(name, number, before, after):
    part = read_part(name)
    assert (part.number, part.before, part.after) == (number, before, after)


@pytest.mark.parametrize(
    "name", ["a.root", "a.sroot-0", "a.sroot-01", "a.sroot-x", ".sroot", "a.sroot.bz2", "a.sroot-1-1"]
)
def test_other_names_are_of_no_set(name):
    assert read_part(name) is None
