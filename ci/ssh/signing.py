"""Signs with `ssh-keygen`, so that keys in files, agents and hardware all work, and no private key is read here."""

from __future__ import annotations

import base64
import subprocess
import tempfile
from pathlib import Path

from ci.cli.exits import WrongUse
from ci.ssh.signature import BadSignature, read_signature, verify_signature
from schemas.policy.policy import Policy
from schemas.policy.signers import NAMESPACE

PATIENCE = 300
"""The time in seconds for a passphrase or the touch of a key."""


def find_signer(policy: Policy, key: Path | None) -> tuple[str, Path | str]:
    """The person who signs, and the key: the file `key`, or else the only key of the agent that the policy knows.

    Raises:
        WrongUse: there is no such key, or more than one.
    """
    if key is not None:
        principal = policy.find_principal(decode_key(_read_public(key)))
        if principal is None:
            raise WrongUse(f"nobody in productions/allowed_signers has the key {key}")
        return principal, key
    found = {
        principal: line
        for line in _ask("ssh-add", "-L").splitlines()
        if len(line.split()) > 1 and (principal := policy.find_principal(decode_key(line))) is not None
    }
    if len(found) != 1:
        known = (
            f"knows {len(found)}: {', '.join(found)}" if found else "has none of productions/allowed_signers"
        )
        raise WrongUse(f"give the key that signs with --key FILE; the agent {known}")
    return next(iter(found.items()))


def sign(data: bytes, policy: Policy, principal: str, key: Path | str) -> bytes:
    """The verified signature of `principal` on `data`; `key` is a file, or the line of a key in the agent.

    Raises:
        WrongUse: signing failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = key
        if isinstance(key, str):
            file = Path(folder, "key.pub")
            file.write_text(f"{key}\n", "ascii")
        made = call_signer(data, NAMESPACE, str(file))
    if made.returncode != 0:
        raise WrongUse("ssh-keygen did not sign; approvers need OpenSSH 8.9 or later")
    try:
        verify_signature(read_signature(made.stdout), data, policy.signers[principal].key, NAMESPACE)
    except BadSignature as error:
        raise WrongUse(f"the signature that was made does not hold: {error}") from error
    return made.stdout


def _read_public(key: Path) -> str:
    """The line of a public key: the file itself, the file beside it, or derived from the private key."""
    beside = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    if beside.is_file():
        return beside.read_text("ascii", "replace")
    if not key.is_file():
        raise WrongUse(f"there is no key {key}")
    return _ask("ssh-keygen", "-y", "-f", str(key))


def call_signer(
    data: bytes, namespace: str, key: str, stderr: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The result of `ssh-keygen` for signing `data`; `stderr`, as of `subprocess.run`, is where it asks people.

    Raises:
        WrongUse: `ssh-keygen` is missing, or does not end in time.
    """
    return _run("ssh-keygen", "-Y", "sign", "-n", namespace, "-f", key, data=data, stderr=stderr)


def decode_key(line: str | bytes) -> bytes:
    """The bytes of the public key in a line, after its type; empty bytes if there is no key."""
    words = line.split()
    try:
        return base64.b64decode(words[1], validate=True) if len(words) > 1 else b""
    except ValueError:
        return b""


def _ask(*command: str) -> str:
    made = _run(*command)
    return made.stdout.decode("ascii", "replace") if made.returncode == 0 else ""


def _run(
    *command: str, data: bytes | None = None, stderr: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    out = subprocess.PIPE
    try:
        return subprocess.run(command, input=data, stdout=out, stderr=stderr, check=False, timeout=PATIENCE)
    except FileNotFoundError as error:
        raise WrongUse(f"there is no {command[0]} here; install OpenSSH's client") from error
    except subprocess.TimeoutExpired as error:
        said = f"{command[0]} did not end within {PATIENCE} s, and nothing was signed"
        hint = "run this again, and enter the passphrase or touch the key when it asks"
        raise WrongUse(f"{said}; {hint}") from error
