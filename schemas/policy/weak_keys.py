"""Weak keys: everybody who knows the public half can sign as their owner."""

from __future__ import annotations

from math import gcd, isqrt, prod

from schemas.policy.wire import ED25519, RSA, SK_ED25519, PublicKey

LEAST_BITS, MOST_BITS = 2048, 16384
"""The allowed length of an RSA key in bits; OpenSSH makes no longer keys."""
LEAST_EXPONENT, MOST_EXPONENT = 65537, 2**256
"""The exponents of RSA keys, the second bound excluded: FIPS 186-5, section 5.4."""

_SMALL_FACTORS = prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, isqrt(n) + 1, 2)))

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDERS = frozenset((0, 1, _P - 1, _EIGHTH, _P - _EIGHTH))
"""The y coordinates of all points of order 1, 2, 4 or 8 on the twisted form of Curve25519."""

_CURVES = {
    "nistp256": (
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "nistp384": (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "nistp521": (
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}
"""p and b of y² = x³ - 3x + b: SP 800-186, section 3.2.1."""


def find_weakness(key: PublicKey) -> str:
    """Why a key is too weak to count, or an empty text.

    Only quick tests are made: they do not find a modulus with badly chosen large factors.
    """
    if key.type == RSA:
        return _find_in_modulus(*key.numbers)
    if key.type in (ED25519, SK_ED25519):
        return _find_in_edwards(int.from_bytes(key.point, "little"))
    return _find_in_weierstrass(key.curve, key.point)


def _find_in_modulus(exponent: int, modulus: int) -> str:
    bits = modulus.bit_length()
    if not LEAST_BITS <= bits <= MOST_BITS:
        return f"an RSA key of {bits} bits is too {'short' if bits < LEAST_BITS else 'long'}"
    if exponent < LEAST_EXPONENT or exponent % 2 == 0 or exponent >= MOST_EXPONENT:
        shown = exponent if exponent.bit_length() < 64 else f"of {exponent.bit_length()} bits"
        return f"the RSA exponent {shown} is not safe"
    if modulus % 2 == 0 or gcd(modulus, _SMALL_FACTORS) > 1 or isqrt(modulus) ** 2 == modulus:
        return "the RSA modulus can be taken apart by anybody"
    return ""


def _find_in_edwards(encoded: int) -> str:
    y = encoded & (2**255 - 1)
    if y >= _P:
        return "its point is not written in the one way that there is"
    if y in _SMALL_ORDERS:
        return "its point is of a small order: anybody can sign for it"
    square = (y * y - 1) * (_D * y * y + 1) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        return "its point is not on the curve"
    return ""


def _find_in_weierstrass(curve: str, point: bytes) -> str:
    p, b = _CURVES[curve]
    half = len(point) // 2
    x, y = int.from_bytes(point[1 : half + 1], "big"), int.from_bytes(point[half + 1 :], "big")
    if point[:1] != b"\x04" or max(x, y) >= p or (y * y - (x * x * x - 3 * x + b)) % p:
        return "its point is not on the curve"
    return ""
