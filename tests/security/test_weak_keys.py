"""Keys with which anybody could sign: each is a finding of `check`, and nothing that they sign counts."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.ssh.signature import BadSignature, Signature, verify_signature
from schemas.policy.policy import SIGNERS
from schemas.policy.signers import NAMESPACE, read_revoked, read_signers
from schemas.policy.weak_keys import find_weakness
from schemas.policy.wire import ECDSA, ED25519, POINTS, RSA, SK_ECDSA, SK_ED25519, PublicKey, read_key
from tests.support.inputs.keys import PERSON, make_key

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL = [0, 1, P - 1, EIGHTH, P - EIGHTH, P, P + 1]
"""Of the points of small order the y, and two in their other way of writing."""


def string(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def number(value: int) -> bytes:
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def write_edwards(y: int, sign: int = 0, kind: str = ED25519) -> bytes:
    more = string(b"ssh:") if kind == SK_ED25519 else b""
    return string(kind.encode()) + string((y | sign << 255).to_bytes(32, "little")) + more


def write_rsa(exponent: int, modulus: int) -> bytes:
    return string(RSA.encode()) + number(exponent) + number(modulus)


def write_point(kind: str, point: bytes) -> bytes:
    curve = ECDSA.get(kind, "nistp256")
    more = string(b"ssh:") if kind == SK_ECDSA else b""
    return string(kind.encode()) + string(curve.encode()) + string(point) + more


SOUND = 1 + 2 * int.from_bytes(b"\xd5" * 255, "big") + 2**2047  # odd, without small factors: see below
while find_weakness(PublicKey(RSA, numbers=(65537, SOUND))):
    SOUND += 2

WEAK = {
    **{f"ed25519 {y:x} {sign}": write_edwards(y, sign) for y in SMALL for sign in (0, 1)},
    **{f"sk ed25519 {y:x}": write_edwards(y, kind=SK_ED25519) for y in SMALL},
    "ed25519, the largest number": write_edwards(2**255 - 1, 1),
    "ed25519, off the curve": write_edwards(2),
    **{
        f"RSA, exponent {e}": write_rsa(e, SOUND)
        for e in (0, 1, 2, 3, 5, 17, 257, 65535, 65536, 65538, 2**256 + 1)
    },
    "RSA, exponent as large as its modulus": write_rsa(SOUND, SOUND),
    "RSA, even": write_rsa(65537, SOUND + 1),
    "RSA, divided by three": write_rsa(65537, (2**2048 - 1) // 3 * 3),
    "RSA, a square": write_rsa(65537, (2**1100 + 1) ** 2),
    "RSA, short": write_rsa(65537, 2**2046 + 1),
    "RSA, so long that it takes minutes": write_rsa(65537, 2**17000 + 1),
    **{
        f"{kind}, off the curve": write_point(kind, b"\4" + b"\1" * (POINTS[ECDSA.get(kind, "nistp256")] - 1))
        for kind in (*ECDSA, SK_ECDSA)
    },
    **{
        f"{kind}, nothing": write_point(kind, b"\4" + bytes(POINTS[ECDSA.get(kind, "nistp256")] - 1))
        for kind in (*ECDSA, SK_ECDSA)
    },
}


def write_line(blob: bytes, person: str = PERSON["release"]) -> str:
    kind = read_key(blob).type
    return f'{person} namespaces="{NAMESPACE}" {kind} {base64.b64encode(blob).decode()}\n'


@pytest.mark.parametrize("case", WEAK)
def test_s25_a_key_with_which_anybody_can_sign_is_a_finding(case):
    signers, findings = read_signers(SIGNERS, write_line(WEAK[case]).encode())
    assert signers == {}
    assert [one.code for one in findings] == ["BP801"]


@pytest.mark.parametrize("case", WEAK)
def test_s25_nothing_that_such_a_key_signs_counts(case):
    blob = WEAK[case]
    signature = Signature(blob, NAMESPACE.encode(), "sha512", string(b"ssh-ed25519") + string(bytes(64)))
    with pytest.raises(BadSignature):
        verify_signature(signature, b"anything", blob, NAMESPACE)


def test_s25_what_verifies_any_text_elsewhere_does_not_here():
    """The library takes the neutral element for a key; then its own encoding and 0 are a signature of every text."""
    neutral = (1).to_bytes(32, "little")
    ed25519.Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), b"any text")
    blob = write_edwards(1)
    signature = Signature(
        blob, NAMESPACE.encode(), "sha512", string(b"ssh-ed25519") + string(neutral + bytes(32))
    )
    with pytest.raises(BadSignature, match="small order"):
        verify_signature(signature, b"any text", blob, NAMESPACE)


def test_s25_check_tells_where_such_a_key_is(signable, capsys):
    file = signable.root / SIGNERS
    mine = signable.circle.line(PERSON["release"])
    file.write_text(file.read_text().replace(mine, write_line(write_edwards(1))))
    assert signable.call("check") == Exit.FINDINGS
    told = "".join(capsys.readouterr())
    assert "small order" in told
    assert f"{SIGNERS}:" in told


def test_a_weak_key_may_be_revoked():
    for blob in WEAK.values():
        line = f"{read_key(blob).type} {base64.b64encode(blob).decode()}\n"
        assert read_revoked("revoked_keys", line.encode()) == (frozenset([blob]), ())


@settings(max_examples=60)
@given(st.binary(min_size=32, max_size=32))
def test_every_key_of_ed25519_is_sound(seed):
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert find_weakness(PublicKey(ED25519, key.public_bytes_raw())) == ""


@settings(max_examples=200)
@given(st.integers(0, 2**255 - 1), st.integers(0, 1))
def test_whatever_point_is_accepted_is_on_the_curve_and_of_no_small_order(y, sign):
    if find_weakness(PublicKey(ED25519, (y | sign << 255).to_bytes(32, "little"))):
        return
    point = recover(y, sign)
    assert point is not None
    for _ in range(3):
        point = add(point, point)
    assert point != (0, 1)


def recover(y: int, sign: int) -> tuple[int, int] | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    return None if x * x % P != square else (P - x if x & 1 != sign else x, y)


def add(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (a, b), (c, d) = one, other
    k = D * a * b * c * d % P
    return (a * d + b * c) * pow(1 + k, -1, P) % P, (b * d + a * c) * pow(1 - k, -1, P) % P


@pytest.mark.parametrize(
    ("kind", "bits"), [("rsa", 2048), ("ecdsa", 256), ("ecdsa", 384), ("ecdsa", 521), ("ed25519", None)]
)
def test_what_ssh_keygen_makes_is_sound(kind, bits, tmp_path):
    assert find_weakness(read_key(make_key(tmp_path, "key", kind, bits).blob)) == ""
