"""What may be said about a store, and that no secret may."""

from __future__ import annotations

import json
import pickle
import sys
from typing import Any

import pytest

from daskbatch.errors import UsageError
from daskbatch.remote.errors import CredentialsRefused
from daskbatch.remote.filesystem import filesystem, is_azure, is_s3
from daskbatch.remote.options import checked, from_json


def test_options_are_frozen() -> None:
    given = {"region": "eu-west-1", "anon": True, "endpoint_url": "http://localhost:9000", "verify": "/ca.pem"}
    options = checked(given)
    assert dict(options) == given
    assert options == checked(dict(reversed(given.items()))) == checked(options)
    assert from_json(json.dumps(options)) == pickle.loads(pickle.dumps(options)) == options
    assert len({options, checked({})}) == 2


@pytest.mark.parametrize(
    "name",
    ["key", "secret", "token", "password", "connection_string", "account_key", "sas_token", "AWS_SECRET_ACCESS_KEY",
     "client_kwargs", "my-secret-thing", "session"],
)  # fmt: skip
@pytest.mark.parametrize("protocol", ["s3", "abfs"])
def test_secrets_are_refused_and_not_shown(name: str, protocol: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked({name: "hu5h"}, protocol)
    assert name in str(caught.value)
    assert "hu5h" not in str(caught.value)


def test_the_message_says_where_credentials_come_from() -> None:
    with pytest.raises(UsageError, match=r"environment .* a profile or an instance role, on each worker"):
        checked({"secret": "x"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"regoin": "x"}, "no option 'regoin'. Did you mean 'region'"),
        ({"anon": "yes"}, "anon must be true or false, got 'yes'"),
        ({"region": ""}, "region must be a string that is not empty"),
        ({"verify": 1.5}, "verify must be true, false or the path of a CA bundle"),
        ({"addressing_style": "odd"}, "addressing_style must be one of auto, path, virtual"),
        ({"endpoint_url": "localhost:9000"}, "endpoint_url must be such as https://host:port"),
    ],
)
def test_what_is_wrong_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        checked(options)


def test_a_password_in_the_endpoint_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        checked({"endpoint_url": "https://me:hu5h@host"})
    assert "hu5h" not in str(caught.value)


def test_a_client_is_shared_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "public")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hu5h")
    options = checked({"endpoint_url": "http://localhost:1", "region": "eu-west-1"})
    client = filesystem("s3://b/k", options)
    assert client is filesystem("s3a://other/k", options)
    assert client is not filesystem("s3://b/k", checked({"endpoint_url": "http://localhost:2"}))
    assert is_s3(client)
    assert b"hu5h" not in pickle.dumps(client)
    assert "hu5h" not in client.to_json()


def test_options_of_azure_name_the_account_and_no_more() -> None:
    given = {"account_name": "a", "account_host": "a.blob.core.cloudapi.de", "anon": True}
    assert dict(checked(given, "abfss")) == given
    with pytest.raises(UsageError, match=r"abfs has no option 'endpoint_url'.* AZURE_STORAGE_CONNECTION_STRING in"):
        checked({"endpoint_url": "http://127.0.0.1:10000"}, "abfs")
    with pytest.raises(UsageError, match=r"is a secret.*AZURE_STORAGE_CONNECTION_STRING.* leave account_key out\."):
        checked({"account_key": "x"}, "az")


def test_a_url_may_name_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    adlfs = pytest.importorskip("adlfs")
    for name in ("CONNECTION_STRING", "ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN"):
        monkeypatch.delenv(f"AZURE_STORAGE_{name}", raising=False)
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    anon = checked({"anon": True}, "abfs")
    made = filesystem("abfss://c@some.dfs.core.windows.net/k", anon)
    assert (made.account_name, made.account_url) == ("some", "https://some.blob.core.windows.net")
    made = filesystem("abfss://c@some.dfs.core.chinacloudapi.cn/k", anon)
    assert made.account_url == "https://some.blob.core.chinacloudapi.cn"
    made = filesystem("az://c/k", checked({"anon": True, "account_name": "other"}, "az"))
    assert (is_azure(made), is_s3(made), made.account_name) == (True, False, "other")
    with pytest.raises(CredentialsRefused, match="no Azure storage account is told"):
        filesystem("abfs://c/k", anon)


def test_a_missing_package_and_an_unknown_protocol_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UsageError, match="nonsense:// is not known"):
        filesystem("nonsense://x/y")
    with pytest.raises(UsageError, match="pip install gcsfs"):
        filesystem("gs://x/y")
