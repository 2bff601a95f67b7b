"""TLS credentials of one cluster, in files that this user alone can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["write_credentials"]


def write_credentials(security: Security, folder: str) -> dict[str, str]:
    """Write credentials into a private folder.

    Parameters
    ----------
    security : Security
        With the credentials themselves, as `Security.temporary` makes them.
    folder : str
        Of mode 0700.

    Returns
    -------
    dict
        Attribute of a `Security`, such as ``"tls_ca_file"``, to the path of the file.
    """
    paths = {}
    for attribute in (
        "tls_ca_file",
        *(f"tls_{role}_{part}" for role in ("scheduler", "worker", "client") for part in ("cert", "key")),
    ):
        path = Path(folder, attribute)
        path.touch(mode=0o600)
        path.write_text(getattr(security, attribute))
        paths[attribute] = str(path)
    return paths
