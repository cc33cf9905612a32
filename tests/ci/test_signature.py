"""Signatures: read and verified here as `ssh-keygen -Y verify` does, but for text behind their end."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci.ssh.signature import BadSignature, read_signature, verify_signature
from schemas.policy.signers import NAMESPACE
from schemas.policy.wire import SK_ECDSA, SK_ED25519
from tests.support.inputs.keys import Key, make_key, run_keygen

MESSAGE = b'{"what":"is signed"}'
WHO = "release-manager@example.org"
KINDS = {
    "ed25519": ("ed25519", None),
    "ecdsa-256": ("ecdsa", 256),
    "ecdsa-384": ("ecdsa", 384),
    "ecdsa-521": ("ecdsa", 521),
    "rsa": ("rsa", 3072),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, Key]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name, kind, bits) for name, (kind, bits) in KINDS.items()}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Asks `ssh-keygen` whether a signature holds."""
    folder = tmp_path_factory.mktemp("asked")

    def ask(public: str, signature: bytes, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> bool:
        (folder / "signers").write_text(f'{WHO} namespaces="{namespace}" {public}\n')
        (folder / "sig").write_bytes(signature)
        words = ("-Y", "verify", "-f", folder / "signers", "-I", WHO, "-n", namespace, "-s", folder / "sig")
        return run_keygen(*words, data=message).returncode == 0

    return ask


def holds(key: bytes, signature: bytes, message: bytes = MESSAGE, namespace: str = NAMESPACE, **more) -> bool:
    try:
        verify_signature(read_signature(signature), message, key, namespace, **more)
    except BadSignature:
        return False
    return True


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_ssh_keygen_signs_holds(keys, asked, kind, algorithm):
    key = keys[kind]
    signature = key.sign(MESSAGE, NAMESPACE, "-O", f"hashalg={algorithm}")
    assert holds(key.blob, signature)
    assert asked(key.public, signature)
    for changed in ({"message": MESSAGE + b" "}, {"namespace": "git"}):
        assert not holds(key.blob, signature, **changed)
        assert not asked(key.public, signature, **changed)
    other = next(one for name, one in keys.items() if name != kind)
    assert not holds(other.blob, signature)
    assert not asked(other.public, signature)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(KINDS)), st.data())
def test_both_agree_on_flipped_bits(keys, asked, kind, data):
    """Of the file, of its bytes below the armour, or of the message."""
    key = keys[kind]
    signature = SIGNED.setdefault(kind, key.sign(MESSAGE))
    what = data.draw(st.sampled_from(["file", "bytes", "message"]))
    if what == "message":
        message = flip(MESSAGE, data)
        assert not holds(key.blob, signature, message)
        assert not asked(key.public, signature, message)
        return
    changed = flip(signature, data) if what == "file" else wrap(flip(unwrap(signature), data))
    verdict = asked(key.public, changed)
    end = b"-----END SSH SIGNATURE-----"
    followed = end in changed and changed.split(end, 1)[1].strip(b"\r\n")
    assert holds(key.blob, changed) == (verdict and not followed)


@pytest.mark.parametrize("behind", [b"\v", b" ", b"\t", b"\r\n", b""])
def test_the_first_line_ends_as_openssh_wants_it(keys, asked, behind):
    key = keys["ed25519"]
    changed = key.sign(MESSAGE).replace(b"SIGNATURE-----\n", b"SIGNATURE-----" + behind, 1)
    assert not holds(key.blob, changed)
    assert not asked(key.public, changed)


SIGNED: dict[str, bytes] = {}


def flip(content: bytes, data) -> bytes:
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    changed = bytearray(content)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def unwrap(signature: bytes) -> bytes:
    return base64.b64decode(b"".join(signature.splitlines()[1:-1]))


def wrap(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return b"\n".join((b"-----BEGIN SSH SIGNATURE-----", *lines, b"-----END SSH SIGNATURE-----", b""))


@pytest.mark.parametrize("more", [b"and more", b"\n\n-----BEGIN SSH SIGNATURE-----\n", b" "])
def test_text_behind_the_end_is_refused_here_alone(keys, asked, more):
    signature = keys["ed25519"].sign(MESSAGE) + more
    assert asked(keys["ed25519"].public, signature)
    assert not holds(keys["ed25519"].blob, signature)


@given(st.binary(max_size=600))
def test_any_bytes_as_a_signature_are_refused(content):
    for signature in (content, wrap(content), wrap(b"SSHSIG\0\0\0\1" + content)):
        with pytest.raises(BadSignature):
            verify_signature(read_signature(signature), MESSAGE, b"key", NAMESPACE)


def string(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "big")
    return string(data)


APPLICATION = b"ssh:"


def sign_in_hardware(kind: str, flags: int, counter: int = 7) -> tuple[bytes, bytes]:
    """A key of a FIDO device, made in software, and its signature: key blob and file of the signature."""
    digest = hashlib.sha512(MESSAGE).digest()
    parts = (NAMESPACE.encode(), b"", b"sha512", digest)
    signed = b"SSHSIG" + b"".join(map(string, parts))
    seen = (
        hashlib.sha256(APPLICATION).digest()
        + bytes([flags])
        + counter.to_bytes(4, "big")
        + hashlib.sha256(signed).digest()
    )
    if kind == SK_ED25519:
        secret = ed25519.Ed25519PrivateKey.generate()
        raw = secret.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        blob = string(kind.encode()) + string(raw)
        value = secret.sign(seen)
    else:
        curve = ec.generate_private_key(ec.SECP256R1())
        point = curve.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        blob = string(kind.encode()) + string(b"nistp256") + string(point)
        r, s = decode_dss_signature(curve.sign(seen, ec.ECDSA(hashes.SHA256())))
        value = number(r) + number(s)
    blob += string(APPLICATION)
    made = string(kind.encode()) + string(value) + bytes([flags]) + counter.to_bytes(4, "big")
    whole = (
        b"SSHSIG" + (1).to_bytes(4, "big") + string(blob) + b"".join(map(string, parts[:3])) + string(made)
    )
    return blob, wrap(whole)


@pytest.mark.parametrize("kind", [SK_ED25519, SK_ECDSA])
def test_keys_in_hardware(asked, kind):
    blob, signature = sign_in_hardware(kind, flags=1)
    public = f"{kind} {base64.b64encode(blob).decode()}"
    assert holds(blob, signature, touch=True)
    assert asked(public, signature)
    assert not holds(blob, signature, MESSAGE + b" ")
    assert not asked(public, signature, MESSAGE + b" ")
    longer = wrap(unwrap(signature)[:-1] + b"\x08")  # another counter
    assert not holds(blob, longer)
    assert not asked(public, longer)


def test_whether_a_key_in_hardware_was_touched_is_ours_to_ask(asked):
    blob, signature = sign_in_hardware(SK_ED25519, flags=0)
    assert asked(f"{SK_ED25519} {base64.b64encode(blob).decode()}", signature), "OpenSSH only notes it"
    assert holds(blob, signature)
    assert not holds(blob, signature, touch=True)


def test_times_of_a_key_are_utc_wherever_one_is(keys, tmp_path, monkeypatch):
    """With the Z that our reader asks for, OpenSSH's clock reads what ours does."""
    key = keys["ed25519"]
    (tmp_path / "signers").write_text(
        f'{WHO} namespaces="{NAMESPACE}",valid-before="20190201000000Z" {key.public}\n'
    )
    (tmp_path / "sig").write_bytes(key.sign(MESSAGE))
    words = ("-Y", "verify", "-f", tmp_path / "signers", "-I", WHO, "-n", NAMESPACE, "-s", tmp_path / "sig")
    for zone in ("UTC", "Asia/Tokyo"):
        monkeypatch.setitem(os.environ, "TZ", zone)
        for time, valid in (("20190131235959Z", True), ("20190201000001Z", False)):
            done = run_keygen(*words, "-O", f"verify-time={time}", data=MESSAGE)
            assert (done.returncode == 0) == valid, (zone, time)


def test_nobody_asks_whether_a_signature_is_good_for_any_key():
    rooms = [Path(__file__).parents[2] / room for room in ("schemas", "renderer", "reconciler", "ci")]
    for path in (path for room in rooms for path in room.rglob("*.py")):
        assert "check-novalidate" not in path.read_text(), path
