"""Text from bytes: UTF-8, with or without a byte order mark. Other encodings are refused, with a guess which one it is."""

from __future__ import annotations

import codecs

_MARKS = (
    ("UTF-32", codecs.BOM_UTF32_LE),  # before UTF-16, because it begins with the mark of UTF-16
    ("UTF-32", codecs.BOM_UTF32_BE),
    ("UTF-16", codecs.BOM_UTF16_LE),
    ("UTF-16", codecs.BOM_UTF16_BE),
)


def decode_text(content: bytes, *, cut: bool = False) -> str:
    r"""The text of `content`, without the byte order mark; with `cut`, its last character may be incomplete.

    >>> decode_text(b"\xef\xbb\xbfrun\r\n")
    'run\r\n'

    Raises:
        ValueError: it is not UTF-8, or contains a NUL; the message says where, and what to do.
    """
    for name, mark in _MARKS:
        if content.startswith(mark):
            raise ValueError(_advise(name))
    content = content.removeprefix(codecs.BOM_UTF8)
    nul = content.find(b"\0")
    if nul >= 0:
        halves = (content[:1000:2], content[1:1000:2])
        if len(content) > 8 and any(10 * half.count(0) >= 9 * len(half) for half in halves):
            raise ValueError(_advise("UTF-16"))  # western letters have a NUL in every second byte
        line = content.count(b"\n", 0, nul) + 1
        raise ValueError(f"it has a NUL in line {line}, so it is not a text file")
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(content, final=not cut)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"its line {line} is not UTF-8 (byte {content[error.start]:#04x});"
            " where it is Latin-1, `iconv -f ISO-8859-1 -t UTF-8 FILE` writes it as UTF-8"
        ) from error


def _advise(name: str) -> str:
    return f"it is {name}; `iconv -f {name} -t UTF-8 FILE` writes it as UTF-8, which is read"
