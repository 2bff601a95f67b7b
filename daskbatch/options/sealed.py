"""Environment variables, sealed: their values cannot be read from a file, yet another value is seen."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["changed_variables", "seal"]

Pairs = Iterable[tuple[str, str]]


def seal(variables: Pairs) -> dict[str, Any]:
    """Slow salted digests of the values, some 20 to 50 ms each, as JSON values; empty where there are no variables.

    A fast digest of a short secret would give it away to whoever tries all of them.
    """
    pairs = tuple(variables)
    if not pairs:
        return {}
    salt = secrets.token_bytes(16)
    method = "scrypt"
    digests = {name: _digest(method, salt, name, value) for name, value in pairs}
    if None in digests.values():
        method = "pbkdf2"
        digests = {name: _digest(method, salt, name, value) for name, value in pairs}
    return {"method": method, "salt": salt.hex(), "digests": digests}


def changed_variables(sealed: Mapping[str, Any], variables: Pairs) -> list[str]:
    """What differs from the sealed ones, in words and without values, such as ``"TOKEN has another value"``."""
    old: Mapping[str, str] = sealed.get("digests", {})
    new = dict(variables)
    texts = []
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            texts.append(f"{name} is gone")
        elif name not in old:
            texts.append(f"{name} is new")
        else:
            digest = _digest(sealed["method"], bytes.fromhex(sealed["salt"]), name, new[name])
            if digest is None:
                texts.append(f"{name} cannot be compared, as this Python was built without {sealed['method']}")
            elif digest != old[name]:
                texts.append(f"{name} has another value")
    return texts


def _digest(method: str, salt: bytes, name: str, value: str) -> str | None:
    """Of one value; None where this build of Python or OpenSSL has no such method."""
    # With the name in the salt nobody sees that two variables have one value.
    salt += name.encode("utf-8", "surrogatepass")
    text = value.encode("utf-8", "surrogatepass")
    if method == "pbkdf2":
        return hashlib.pbkdf2_hmac("sha256", text, salt, 100_000, dklen=16).hex()
    try:
        return hashlib.scrypt(text, salt=salt, n=2**14, r=8, p=1, dklen=16).hex()
    except (AttributeError, ValueError):
        return None
