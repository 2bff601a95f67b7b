"""The Azure ML SDK's ways to log in: they are taken, and ask and keep nothing, which is said once.

Runs in the runner's interpreter: standard library, Python 3.9.
"""

from __future__ import annotations

import warnings
from typing import Any

__all__ = [
    "AbstractAuthentication",
    "AzureCliAuthentication",
    "InteractiveLoginAuthentication",
    "MsiAuthentication",
    "ServicePrincipalAuthentication",
    "TokenAuthentication",
]

_said: set[str] = set()


class AbstractAuthentication:
    """A way to log in. Nothing that it is given is kept."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        if name not in _said:
            _said.add(name)
            told = f"{name}: a workspace is a folder here. Nothing is asked for, and what was given is not kept."
            warnings.warn(told, UserWarning, stacklevel=2)

    def get_authentication_header(self) -> dict[str, str]:
        """Nothing: there is nobody to send it to."""
        return {}


class AzureCliAuthentication(AbstractAuthentication):
    """By Azure's command line."""


class InteractiveLoginAuthentication(AbstractAuthentication):
    """By a browser."""


class MsiAuthentication(AbstractAuthentication):
    """By a machine's own identity."""


class ServicePrincipalAuthentication(AbstractAuthentication):
    """By an id and a secret."""


class TokenAuthentication(AbstractAuthentication):
    """By a token."""
