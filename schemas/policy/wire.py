"""The wire format of SSH keys and signatures: strings that follow their length, read strictly."""

from __future__ import annotations

from dataclasses import dataclass

ED25519, RSA = "ssh-ed25519", "ssh-rsa"
SK_ED25519, SK_ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
ECDSA = {
    "ecdsa-sha2-nistp256": "nistp256",
    "ecdsa-sha2-nistp384": "nistp384",
    "ecdsa-sha2-nistp521": "nistp521",
}
"""The types of ECDSA keys, with the name that a key repeats inside."""
HARDWARE = (SK_ED25519, SK_ECDSA)
"""The types of keys in hardware; their signatures say whether a person touched the device."""
KEY_TYPES = (ED25519, *ECDSA, RSA, *HARDWARE)
"""The types of keys that can be read."""

POINTS = {"nistp256": 65, "nistp384": 97, "nistp521": 133}
"""The length in bytes of an uncompressed point of each curve."""


class Malformed(ValueError):
    """Bytes with a wrong form; the text says what is wrong."""


@dataclass(slots=True)
class Wire:
    """Reads bytes from the front; `rest` is what is left."""

    rest: bytes

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            Malformed: there are fewer.
        """
        if count > len(self.rest):
            raise Malformed("it ends too early")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self) -> int:
        """The next 32 bits as an unsigned number."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """The next string."""
        return self.take(self.number())

    def text(self) -> str:
        """The next string, which must be printable ASCII."""
        data = self.string()
        if not all(32 < byte < 127 for byte in data):
            raise Malformed("a name in it is not printable")
        return data.decode("ascii")

    def integer(self) -> int:
        """The next integer of any length, which must not be negative."""
        data = self.string()
        if data[:1] > b"\x7f":
            raise Malformed("a number in it is negative")
        return int.from_bytes(data, "big")

    def end(self) -> None:
        """Checks that nothing is left."""
        if self.rest:
            raise Malformed("something follows where it should end")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key in its parts: `point` of a curve, `numbers` e and n of RSA, `application` of a key in hardware."""

    type: str
    point: bytes = b""
    numbers: tuple[int, int] = (0, 0)
    application: bytes = b""

    @property
    def curve(self) -> str:
        """The name of its curve; "" if it has none or needs none."""
        return "nistp256" if self.type == SK_ECDSA else ECDSA.get(self.type, "")


def read_key(blob: bytes) -> PublicKey:
    """The public key in `blob`, the decoded base64 of a key's file.

    Raises:
        Malformed: the bytes are not a key of a known type.
    """
    wire = Wire(blob)
    kind = wire.text()
    if kind not in KEY_TYPES:
        raise Malformed(f"keys of type {kind[:40]} are not accepted, but {', '.join(KEY_TYPES)} are")
    if kind == RSA:
        key = PublicKey(kind, numbers=(wire.integer(), wire.integer()))
    elif kind in (ED25519, SK_ED25519):
        key = PublicKey(kind, _expect(wire.string(), 32))
    else:
        curve = ECDSA.get(kind, "nistp256")
        if wire.text() != curve:
            raise Malformed("the key's curve is not that of its type")
        key = PublicKey(kind, _expect(wire.string(), POINTS[curve]))
    if kind in HARDWARE:
        key = PublicKey(kind, key.point, application=wire.string())
    wire.end()
    return key


def _expect(data: bytes, count: int) -> bytes:
    if len(data) != count:
        raise Malformed(f"the key has {len(data)} bytes, its type {count}")
    return data
