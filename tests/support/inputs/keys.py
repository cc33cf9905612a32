"""People with real keys from `ssh-keygen`, and a policy that knows them."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from schemas.policy.policy import REVOKED, ROLES, SIGNERS, Policy, read_policy
from schemas.policy.signers import NAMESPACE

ORDER = ("proposer", "release", "calibration", "coordinator")

PERSON = {
    "proposer": "production-manager@example.org",
    "release": "release-manager@example.org",
    "calibration": "calibration-manager@example.org",
    "coordinator": "computing-coordinator@example.org",
    "data-owner": "physics-coordinator@example.org",
    "validation": "validation-manager@example.org",
    "deputy": "calibration-deputy@example.org",
    "other": "second-manager@example.org",
}
"""Role → person; `deputy` and `other` have no role of their own."""


def run_keygen(*arguments: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["ssh-keygen", *map(str, arguments)], input=data, capture_output=True, check=False, timeout=60
    )


@dataclass(frozen=True)
class Key:
    """A key pair in a file."""

    file: Path

    @property
    def public(self) -> str:
        """Type and key, as in a line of `allowed_signers`."""
        return " ".join(self.file.with_name(f"{self.file.name}.pub").read_text().split()[:2])

    @property
    def blob(self) -> bytes:
        return base64.b64decode(self.public.split()[1])

    def sign(self, data: bytes, namespace: str = NAMESPACE, *options: str) -> bytes:
        made = run_keygen("-Y", "sign", "-f", self.file, "-n", namespace, *options, data=data)
        assert made.returncode == 0, made.stderr
        return made.stdout


def make_key(folder: Path, name: str, kind: str = "ed25519", bits: int | None = None) -> Key:
    file = folder / name
    size = ("-b", str(bits)) if bits else ()
    made = run_keygen("-q", "-t", kind, *size, "-N", "", "-C", name, "-f", file)
    assert made.returncode == 0, made.stderr
    return Key(file)


@dataclass
class Circle:
    """The people of the tests: principal → key, and their policy."""

    folder: Path
    keys: dict[str, Key] = field(default_factory=dict)

    def key(self, person: str) -> Key:
        if person not in self.keys:
            self.keys[person] = make_key(self.folder, person.replace("@", "_at_").replace(" ", "_"))
        return self.keys[person]

    def line(self, person: str) -> str:
        return f'{person} namespaces="{NAMESPACE}" {self.key(person).public}\n'

    def root(self, roles: str | None = None, signers: str | None = None, revoked: str = "") -> dict[str, str]:
        """The files of the trust root, as `productions/…` → text."""
        everybody = "".join(map(self.line, PERSON.values()))
        return {
            ROLES: write_roles() if roles is None else roles,
            SIGNERS: everybody if signers is None else signers,
            REVOKED: f"# none\n{revoked}",
        }

    def policy(self, **changes: str) -> Policy:
        tree = {file: text.encode() for file, text in self.root(**changes).items()}
        policy, findings = read_policy(tree)
        assert policy is not None, findings
        return policy


def write_roles(*changes: tuple[str, str]) -> str:
    """`roles.yaml` of the tests, with some parts replaced."""
    text = ROLES_TEXT
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


ROLES_TEXT = f"""\
schema: roles/1
version: 1
expires: "2099-12-31"
repository: belle2/productions
environment: production
mode: signatures
validity_days: 90
administrators:
  people: [{PERSON["coordinator"]}, {PERSON["proposer"]}, {PERSON["data-owner"]}]
  threshold: 2
roles:
  proposer: {{scope: everything, people: [{PERSON["proposer"]}, {PERSON["other"]}]}}
  release: {{scope: release, people: [{PERSON["release"]}, {PERSON["proposer"]}, {PERSON["coordinator"]}]}}
  calibration: {{scope: calibration, people: [{PERSON["calibration"]}, {PERSON["coordinator"]}]}}
  coordinator: {{scope: everything, people: [{PERSON["coordinator"]}, {PERSON["proposer"]}]}}
  data-owner: {{scope: retirements, people: [{PERSON["data-owner"]}]}}
  validation: {{scope: verdicts, people: [{PERSON["validation"]}, {PERSON["coordinator"]}]}}
requires:
  default: [proposer, release, calibration, coordinator]
  retirements: [data-owner]
"""
