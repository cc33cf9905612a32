"""Jobs for the runtime on a worker node; their application is a line of Python."""

from __future__ import annotations

CHECKSUMS = {
    "adler32": "adler32:0292014b",
    "crc32": "crc32:1ab3db55",
    "md5": "md5:bdd166af3a63f7be696dd17a218a6ffb",
    "sha1": "sha1:ce15802a8c5e8e9db0ffaf10130ef265296e9ea4",
    "sha256": "sha256:d7439bee24773bcbfa2d0a97947ee36227b10d1022b1a55847e928965bb6bfde",
    "sha512": "sha512:918b4ff23be6ff9cb2a34b2ef37bd2bceae30dab2047b34a133b4ece532a9c2f"
    "74a695894675dfa7b2130c2dbfdeccf7b4386776912196d20a72b4c7a80f64a3",
}
"""Checksums of the bytes `raw`, as printed by `adler32`, `crc32`, `md5sum`, `sha1sum`, `sha256sum` and `sha512sum`."""


def job(folder, command, **changes):
    """A valid job whose application is a line of Python."""
    source = folder / "in.root"
    source.write_text("raw")
    return {
        "schema": "job/1",
        "campaign": "proc7",
        "step": "reco",
        "experiment": 3,
        "run": 529,
        "key": "0" * 16,
        "application": "basf2",
        "command": command,
        "inputs": [{"name": "in.root", "path": str(source), "size": 3, "checksum": CHECKSUMS["adler32"]}],
        "outputs": [{"output": "mdst", "level": "mdst", "file": "out.root", "fingerprint": "0" * 64}],
        "seed": "0" * 32,
        "environment": [],
        **changes,
    }
