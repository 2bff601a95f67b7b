from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskbatch.errors import InputError, UsageError
from daskbatch.store.partition_format import parse_format

at = datetime.fromisoformat
DAY = at("2019-01-31")


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        # The documentation's own example.
        (
            "/{Department}/{PartitionDate:yyyy/MM/dd}/data.csv",
            "../Accounts/2019/01/31/data.csv",
            {"Department": "Accounts", "PartitionDate": DAY},
        ),
        # The samples' own format, which names a folder above the first key.
        (
            "dataset/{user}/{season}/{genres}.wav",
            "/data/dataset/u1/winter/disco.wav",
            {"user": "u1", "season": "winter", "genres": "disco"},
        ),
        ("{a}/{b}.csv", "x/y.csv", {"a": "x", "b": "y"}),
        ("{a}/{b}.csv", "/w/x/y.z.csv", {"a": "x", "b": "y.z"}),
        ("/store={store}/*.csv", "/data/store=7/part-0.csv", {"store": "7"}),
        ("{a}_{b}.csv", "/x/1_2_3.csv", {"a": "1", "b": "2_3"}),
        ("sales{year:yyyy}.csv", "/x/sales2019.csv", {"year": at("2019-01-01")}),
        ("{year:yyyy}.csv", "/x/sales2019.csv", {"year": at("2019-01-01")}),
        (
            "{t:yyyyMMdd_HHmmss}.png",
            "/cam/20190131_235958.png",
            {"t": at("2019-01-31 23:59:58")},
        ),
        ("/{key with blank}/x", "/ü/x", {"key with blank": "ü"}),
        ("/{a}/b+(c).csv", "/1/b+(c).csv", {"a": "1"}),
        ("{a}/x\n.csv", "/1/x\n.csv", {"a": "1"}),
        ("/{a}.csv", "/b/c.CSV", None),
        ("/{a}/data.csv", "/data.csv", None),
        ("/{d:yyyy-MM-dd}/*", "/2019-02-30/x", None),
        ("/{d:yyyy-MM-dd}/*", "/2019-2-3/x", None),
        ("b/{a}.csv", "/ab/c.csv", None),
        ("/{a}/*.csv", "/x/y/z/w.csv", {"a": "z"}),
    ],
)
def test_what_a_path_says(text: str, path: str, expected: dict[str, object] | None) -> None:
    form = parse_format(text)
    assert form.match(path) == expected
    if expected is None:
        with pytest.raises(InputError) as refused:
            form.values(path)
        assert path in str(refused.value)
        assert text in str(refused.value)
    else:
        assert form.values(path) == expected
        assert form.names == tuple(expected)
        assert form.times == tuple(name for name, value in expected.items() if isinstance(value, datetime))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (5, "must be a text"),
        ("", "must name a key in braces"),
        ("data/*.csv", "must name a key in braces"),
        ("{a/b.csv", "braces come in pairs"),
        ("a}/{b}", "braces come in pairs"),
        ("{{a}}/b", "braces come in pairs"),
        ("{}/b", "needs a name"),
        ("{ a}/b", "needs a name"),
        ("{:yyyy}/b", "needs a name"),
        ("{a}/{a}.csv", "each key once, got 'a' twice"),
        ("{a:YYYY}/b", "must be written with yyyy"),
        ("{a:MM}/b", "must be written with yyyy"),
        ("{a:yyyy/yyyy}/b", "must be written with yyyy"),
        ("{a:}/b", "Write {a} for a string"),
        ("{a:yyyy-MMM}/b", "must be written with yyyy"),
    ],
)
def test_what_is_no_format(text: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_format(text)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
times = st.datetimes(at("1000-01-01"), at("9999-12-31")).map(lambda time: time.replace(microsecond=0))


@given(names, times, names, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_what_was_written_is_read(user: str, time: datetime, last: str, above: str) -> None:
    path = f"{above}/{user}/{time:%Y/%m/%d-%H.%M.%S}/{last}.x"
    form = parse_format("/{user}/{time:yyyy/MM/dd-HH.mm.ss}/{last}.x")
    assert form.match(path) == {"user": user, "time": time, "last": last}
