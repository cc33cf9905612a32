"""The type of the file system that a folder is on: file locks are reliable on local disks only."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")

NETWORKED = frozenset(
    [
        "nfs",
        "nfs4",
        "gpfs",
        "lustre",
        "afs",
        "auristorfs",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "beegfs",
        "ceph",
        "glusterfs",
        "pvfs2",
        "panfs",
        "ncpfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.cvmfs2",
        "fuse.afp",
    ]
)
"""File systems that several hosts share; names as in /proc/self/mountinfo."""


def find_type(folder: Path) -> str | None:
    """The type of a folder's file system; the folder may not exist yet. None if this machine does not tell."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return None
    here = f"{os.path.realpath(folder)}/"
    best, found = -1, None
    for line in lines:
        mounted, _, rest = line.partition(" - ")
        # mountinfo writes blanks and some other characters as octal numbers
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), mounted.split()[4])
        if here.startswith(point.rstrip("/") + "/") and len(point) >= best:
            best, found = len(point), rest.split()[0]
    return found
