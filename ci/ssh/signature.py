"""Verifies signatures in OpenSSH's format (SSHSIG), also at sites with an old OpenSSH.

The format is that of OpenSSH's PROTOCOL.sshsig. Refused is what `ssh-keygen -Y verify` refuses, and text after the end of a
signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from schemas.policy.weak_keys import find_weakness
from schemas.policy.wire import ED25519, HARDWARE, RSA, SK_ED25519, Malformed, PublicKey, Wire, read_key

SIGNATURE_LIMIT = 16 * 1024
"""The largest size of a signature's file in bytes."""

_MAGIC = b"SSHSIG"
_BEGIN, _END = b"-----BEGIN SSH SIGNATURE-----\n", b"\n-----END SSH SIGNATURE-----"
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_RSA: dict[str, hashes.HashAlgorithm] = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
_CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_BLANK = re.compile(rb"[ \t\n\v\f\r]+")
_TOUCHED = 0x01


class BadSignature(Exception):
    """The signature is not valid; the text says why."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as read from a file, not yet verified: the bytes of the key, and the purpose."""

    key: bytes
    namespace: bytes
    algorithm: str
    blob: bytes


def read_signature(content: bytes) -> Signature:
    """The signature in `content`, the bytes of a `.sig` file.

    Raises:
        BadSignature: it is not a signature, or text follows its end.
    """
    try:
        wire = Wire(_remove_armour(content))
        if wire.take(len(_MAGIC)) != _MAGIC or wire.number() != 1:
            raise BadSignature("it is not a signature of version 1")
        key, namespace, _reserved = wire.string(), wire.string(), wire.string()
        algorithm = wire.text()
        blob = wire.string()
        wire.end()
    except Malformed as error:
        raise BadSignature(f"the signature cannot be read: {error}") from None
    if algorithm not in _HASHES:
        raise BadSignature(f"the hash {algorithm[:20]} is not accepted, but {' and '.join(_HASHES)} are")
    return Signature(key, namespace, algorithm, blob)


def verify_signature(
    signature: Signature, message: bytes, key: bytes, namespace: str, *, touch: bool = False
) -> None:
    """Checks that the owner of `key` signed `message` for `namespace`; with `touch`, also that a hardware key was touched.

    Raises:
        BadSignature: one of this is not so.
    """
    if signature.key != key:
        raise BadSignature("it was made with another key")
    if signature.namespace != namespace.encode():
        shown = signature.namespace[:40].decode("ascii", "replace")
        raise BadSignature(f"it was made for `{shown}`, not for `{namespace}`")
    digest = _HASHES[signature.algorithm](message).digest()
    parts = (signature.namespace, b"", signature.algorithm.encode(), digest)
    signed = _MAGIC + b"".join(map(_string, parts))
    try:
        public = read_key(key)
        if weakness := find_weakness(public):
            raise BadSignature(weakness)
        wire = Wire(signature.blob)
        kind, value = wire.text(), wire.string()
        if public.type in HARDWARE:
            signed = _complete(public, wire, signed, touch=touch)
        elif touch:
            raise BadSignature("the policy asks for a touched hardware key: `ssh-keygen -t ed25519-sk`")
        wire.end()
        _verify(public, kind, value, signed)
    except Malformed as error:
        raise BadSignature(f"the signature cannot be read: {error}") from None
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise BadSignature("it is not of this text") from None


def _verify(public: PublicKey, kind: str, value: bytes, signed: bytes) -> None:
    if public.type == RSA:
        exponent, modulus = public.numbers
        if kind not in _RSA:
            raise Malformed(f"an RSA signature is one of {', '.join(_RSA)}")
        size = (modulus.bit_length() + 7) // 8
        if len(value) > size:
            raise Malformed("the signature is longer than its key")
        numbers = rsa.RSAPublicNumbers(exponent, modulus)
        numbers.public_key().verify(value.rjust(size, b"\0"), signed, padding.PKCS1v15(), _RSA[kind])
        return
    if kind != public.type:
        raise Malformed("the signature is not of its key's type")
    if public.type in (ED25519, SK_ED25519):
        ed25519.Ed25519PublicKey.from_public_bytes(public.point).verify(value, signed)
        return
    curve, algorithm = _CURVES[public.curve]
    pair = Wire(value)
    encoded = encode_dss_signature(pair.integer(), pair.integer())
    pair.end()
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, public.point)
    key.verify(encoded, signed, ec.ECDSA(algorithm))


def _complete(public: PublicKey, wire: Wire, signed: bytes, *, touch: bool) -> bytes:
    """The bytes that a key in hardware signs: its application, flags and counter, and the digest of the given bytes."""
    flags, counter = wire.take(1), wire.take(4)
    if touch and not flags[0] & _TOUCHED:
        raise BadSignature("the key was not touched, and the policy asks for it")
    return hashlib.sha256(public.application).digest() + flags + counter + hashlib.sha256(signed).digest()


def _string(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _remove_armour(content: bytes) -> bytes:
    if len(content) > SIGNATURE_LIMIT:
        raise Malformed(f"it has more than {SIGNATURE_LIMIT} bytes")
    if not content.startswith(_BEGIN):
        raise Malformed("it does not begin as one")
    end = content.find(_END)
    if end < 0:
        raise Malformed("it has no end")
    if content[end + len(_END) :].strip(b"\r\n"):
        raise Malformed("something follows its end")
    text = _BLANK.sub(b"", content[len(_BEGIN) : end])
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Malformed(str(error)) from None
    if base64.b64encode(blob) != text:
        raise Malformed("its base64 is not as it would be written")
    return blob
