"""What a script needs from elsewhere: local copies of its source directory, and of what URLs in its arguments and
environment variables name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from daskbatch.layout import FETCH_PYTHON_VARIABLE, NODE_FILES_VARIABLE, WORKSPACE_VARIABLE
from daskbatch.remote.retrying import USUAL, Limit
from daskbatch.spec import Fetched
from daskbatch.worker.local_scratch import local_scratch
from daskbatch.worker.models import model_fetched
from daskbatch.worker.node_files import NodeFiles
from daskbatch.worker.shared_folder import sweep

if TYPE_CHECKING:
    from daskbatch.worker.runner import Launch

__all__ = ["ScriptFiles", "files_of", "told", "with_files"]

_ENDS = r"(?![^/\s,;:\'\"])"
"""A URL ends there, or goes on below what was fetched."""


def told(text: str, paths: Mapping[str, str]) -> str:
    """`text` with local paths in the place of the URLs that were fetched, and of what lies below them.

    >>> told("--labels=s3://b/l.txt", {"s3://b/l.txt": "/tmp/l.txt"})
    '--labels=/tmp/l.txt'
    >>> told("s3://b/l.txt.gz", {"s3://b/l.txt": "/tmp/l.txt"})
    's3://b/l.txt.gz'
    """
    for url in sorted(paths, key=len, reverse=True):
        if url in text:
            text = re.sub(re.escape(url) + _ENDS, paths[url].replace("\\", r"\\"), text)
    return text


class ScriptFiles:
    """The files of one run on this host.

    Parameters
    ----------
    name : str
        Of the run, the same for all its workers of the host.
    fetched : sequence of Fetched
    source : Fetched, optional
        The source directory.
    limit : Limit
        Of each request.
    """

    def __init__(
        self, name: str, fetched: Sequence[Fetched], source: Fetched | None = None, limit: Limit = USUAL
    ) -> None:
        root = os.path.join(local_scratch(), f"daskbatch-node-{os.getuid()}-")
        sweep(f"{root}*")
        self.folder = root + re.sub(r"[^A-Za-z0-9.-]", "-", name)
        self._fetched = tuple(fetched)
        self._source = source
        self._files = NodeFiles(self.folder, (), limit)

    def variables(self) -> dict[str, str]:
        """What a runner needs to fetch more: registered models that it asks for."""
        return {NODE_FILES_VARIABLE: self.folder, FETCH_PYTHON_VARIABLE: sys.executable}

    def paths(self) -> dict[str, str]:
        """Local paths by URL; fetched where they are not there yet.

        Raises
        ------
        DaskbatchError, OSError
        """
        self._files.join()
        return {one.url: self._get(one) for one in self._fetched}

    def _get(self, one: Fetched) -> str:
        return self._files.get(one.url, one.kind, one.token, one.options)

    def filled(self, launch: Launch) -> Launch:
        """How a runner is started, with the paths.

        Raises
        ------
        DaskbatchError, OSError
        """
        paths = self.paths()
        setup: dict[str, Any] = dict(launch.setup)
        setup["arguments"] = [told(text, paths) for text in setup["arguments"]]
        if self._source is not None:
            there, here = setup["source_directory"], self._own_copy(self._source)
            setup["source_directory"] = here
            if setup["script"] is not None:
                setup["script"] = os.path.normpath(os.path.join(here, os.path.relpath(setup["script"], there)))
        environment = {name: told(text, paths) for name, text in launch.environment.items()}
        return replace(launch, setup=setup, environment=environment)

    def _own_copy(self, source: Fetched) -> str:
        """The source directory on local scratch; of one that the node sees, itself where scratch will not have it."""
        if source.kind != "folder":
            return self._get(source)
        try:
            self._files.join()
            # There may be programs and libraries in it.
            may_run = not os.statvfs(self.folder).f_flag & getattr(os, "ST_NOEXEC", 0)
            return self._get(source) if may_run else source.url
        except OSError:
            return source.url

    def close(self) -> None:
        """The script has ended."""
        self._files.close()


def files_of(
    name: str,
    fetched: Iterable[Fetched],
    environment: Mapping[str, str],
    seconds: float,
    source: Fetched | None = None,
) -> ScriptFiles | None:
    """The files of a run, with those of the model that its script finds without asking; None where it can need none.

    Parameters
    ----------
    environment : mapping
        The script's variables.
    seconds : float
        How long a store may be away.
    source : Fetched, optional
        The source directory, where it is not read in its place.
    """
    wanted = [*fetched, *(Fetched(*one) for one in model_fetched(environment))]
    if not wanted and source is None and not environment.get(WORKSPACE_VARIABLE):
        return None
    return ScriptFiles(name, wanted, source, Limit(tries=1000, seconds=seconds))


@contextmanager
def with_files(
    fetched: Iterable[Fetched], environment: Mapping[str, str], seconds: float
) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """The same for a script in this process: local paths by URL, and variables.

    Raises
    ------
    DaskbatchError, OSError
    """
    files = files_of(f"own-{os.getpid()}-{os.urandom(4).hex()}", fetched, environment, seconds)
    if files is None:
        yield {}, {}
        return
    try:
        yield files.paths(), files.variables()
    finally:
        files.close()
