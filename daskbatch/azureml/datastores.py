"""Names of Azure's kinds of datastores: here there is one kind."""

from __future__ import annotations

from daskbatch.api.datastore import Datastore

__all__ = ["AzureBlobDatastore", "AzureFileDatastore"]

AzureBlobDatastore = Datastore
AzureFileDatastore = Datastore
