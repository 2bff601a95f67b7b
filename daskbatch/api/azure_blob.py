"""A container of Azure Blob Storage, as a datastore's document. No package of Azure is needed to name one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from daskbatch.api.documents import check_name
from daskbatch.api.ignored import accept
from daskbatch.errors import UsageError

__all__ = ["azure_blob"]

_AZURE = (
    *("blob_cache_timeout", "create_if_not_exists", "grant_workspace_access", "protocol", "resource_group"),
    *("service_data_access_auth_identity", "skip_validation", "subscription_id"),
)
_CONTAINER = re.compile(r"[A-Za-z0-9$][A-Za-z0-9-]*")
_CREDENTIALS = {
    "account_key": "AZURE_STORAGE_ACCOUNT_KEY",
    "client_secret": "AZURE_STORAGE_CLIENT_SECRET",
    "connection_string": "AZURE_STORAGE_CONNECTION_STRING",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
}
"""Where adlfs looks for them."""


def azure_blob(
    account_name: object, container_name: object, endpoint: object, more: Mapping[str, object]
) -> dict[str, object]:
    """What is stored of a container.

    Parameters
    ----------
    account_name, container_name : str
    endpoint : str, optional
        By default ``core.windows.net``.
    more : mapping
        The other arguments that were given.

    Raises
    ------
    UsageError
        A value is wrong, or a key was given.
    """
    for what, variable in _CREDENTIALS.items():
        if more.get(what) is not None:
            raise UsageError(
                f"{what} is not taken: what is registered is stored as plain text. Put it into the environment"
                f" variable {variable}, and leave the argument out."
            )
    others = {name: value for name, value in more.items() if name not in _CREDENTIALS}
    accept("Datastore.register_azure_blob_container", others, _AZURE)
    account = check_name("account_name", account_name)
    host = check_name("endpoint", "core.windows.net" if endpoint is None else endpoint)
    if not isinstance(container_name, str) or not _CONTAINER.fullmatch(container_name):
        raise UsageError(f"container_name must be letters, digits and '-', got {container_name!r}.")
    elsewhere = {} if host == "core.windows.net" else {"account_host": f"{account}.blob.{host}"}
    return {
        "url": f"abfss://{container_name}@{account}.dfs.{host}",
        "type": "AzureBlob",
        "account_name": account,
        "container_name": container_name,
        "storage_options": {"account_name": account, **elsewhere},
    }
