"""Paths in the documents of runs whose workspace was moved."""

from __future__ import annotations

from daskbatch.api.relocation import relocated


def test_texts_that_are_paths_in_the_folder_are_paths_in_the_new_one() -> None:
    others = ["/older/b", "s3://old/c", "--at=/older", "a=/old", 3, None]
    found = relocated({"root": "/old", "data": ["/old/data/a.csv", *others]}, "/old", "/new")
    assert found == {"root": "/new", "data": ["/new/data/a.csv", *others]}
    assert relocated(["--at=/old", "--model=/old/m"], "/old", "/new") == ["--at=/new", "--model=/new/m"]
