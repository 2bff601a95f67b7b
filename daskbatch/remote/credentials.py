"""Where each store's client looks for credentials by itself: no option and no URL holds them."""

from __future__ import annotations

__all__ = ["places_of"]

_PLACES = {
    "s3": "the environment (AWS_ACCESS_KEY_ID and the like), a profile or an instance role",
    "abfs": (
        "the environment (AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with"
        " AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN), a login of the Azure CLI or a managed identity"
    ),
    "gs": "the environment (GOOGLE_APPLICATION_CREDENTIALS), a login of gcloud or a service account",
}
_ALIASES = {"abfss": "abfs", "az": "abfs", "gcs": "gs", "s3a": "s3"}


def places_of(protocol: str) -> str:
    """Say it for people, to go on with "of this host" or "on each worker".

    >>> places_of("s3a")
    'the environment (AWS_ACCESS_KEY_ID and the like), a profile or an instance role'
    """
    return _PLACES.get(_ALIASES.get(protocol, protocol), f"wherever the client of {protocol}:// looks for them")
