"""The end of a run: the combined file, published in one step, and the summary."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import daskbatch
from daskbatch import errors
from daskbatch.engine.books import Books
from daskbatch.engine.epoch import Epoch
from daskbatch.engine.folder import RunFolder
from daskbatch.engine.signals import Interrupts
from daskbatch.engine.stop import Stop
from daskbatch.layout import partial_name
from daskbatch.options.public import public_options
from daskbatch.remote.errors import StorageError
from daskbatch.spec import RunSpec
from daskbatch.store.combine import Combined, write_processed_csv
from daskbatch.store.refusal import refusal

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["publish", "stop_of", "summarise"]


def publish(
    spec: RunSpec,
    folder: RunFolder,
    books: Books,
    stop: Stop | None,
    epoch: Epoch,
    interrupts: Interrupts,
    client: Client | None = None,
) -> tuple[Combined | None, Stop | None]:
    """Combine what was committed: under its final name if the run is complete, else under a partial one.

    Parameters
    ----------
    epoch : Epoch
        Asked right before the result gets its name whether the run is another engine's by now.
    interrupts : Interrupts
        Held then: they come too late to keep it from that. Decided at the end.
    client : Client, optional
        Whose workers combine on a store; else this process does.

    Returns
    -------
    combined : Combined or None
        None where there is nothing to write.
    stop : Stop or None
        Why the run has failed; combining may be a reason of its own.

    Raises
    ------
    SegmentDamaged
        What was committed is not there any more, and the run could do it again.
    """
    try:
        combined, stop = _publish(spec, folder, books, stop, epoch, interrupts, client)
        interrupts.decide()  # where there is no file to write, too
        return combined, stop
    except errors.SegmentDamaged as error:
        if stop is None:
            raise
        return None, stop or stop_of(error)
    except _Displaced as error:
        return None, error.stop
    except Exception as error:  # of a store's worker or of Arrow, too: what is committed counts, and is told
        return None, stop or stop_of(error)
    finally:
        interrupts.release()


class _Displaced(Exception):
    """Raised while combining when another engine has taken the run over."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.message)
        self.stop = stop


def stop_of(error: Exception) -> Stop:
    """An error on our side of the run as the reason for its end."""
    if isinstance(error, errors.RunFailed):
        return Stop(type(error), str(error), cause=error)
    if isinstance(error, StorageError):
        return Stop(errors.RunFailed, str(error), cause=error)
    text = refusal(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return Stop(errors.RunFailed, text, cause=error)


def _publish(
    spec: RunSpec,
    folder: RunFolder,
    books: Books,
    stop: Stop | None,
    epoch: Epoch,
    interrupts: Interrupts,
    client: Client | None,
) -> tuple[Combined | None, Stop | None]:
    def check() -> None:
        taken = epoch.look()
        if taken is not None:
            raise _Displaced(taken)

    def confirm() -> None:
        check()
        interrupts.hold()

    check()
    if books.chunks:
        folder.processed.parent.mkdir(parents=True, exist_ok=True)
        write_processed_csv(folder.results, folder.scratch, books.chunks, folder.processed)
    if spec.output_action == "summary_only":
        return None, stop
    if stop is None and not books.items:
        why = "run() returned no item for any mini-batch; output_action=summary_only allows that"
        stop = Stop(errors.NoResult, why)
    if not books.items:
        return None, stop
    if stop is not None and issubclass(stop.error, errors.MultiLineText):
        return None, stop  # rows of that file are nonsense: not even a partial result may hold them
    partial = partial_name(spec.append_row_file_name)
    name = partial if stop is not None else spec.append_row_file_name
    combined = folder.combine(books.chunks, name, confirm, epoch.ledger, client, epoch.draft)
    if stop is None:
        with contextlib.suppress(OSError, StorageError):  # an earlier one that stays is no reason to fail
            folder.remove(partial)
    return combined, stop


def summarise(
    spec: RunSpec,
    run_id: str,
    epoch: int,
    books: Books,
    stop: Stop | None,
    combined: Combined | None,
    seconds: float,
    phases: Mapping[str, float],
    first_run: float | None,
) -> dict[str, Any]:
    """The content of ``run_summary.json``."""
    status = "Completed"
    if stop is not None:
        status = "Canceled" if issubclass(stop.error, errors.RunCanceled) else "Failed"
    done = books.succeeded + books.failed
    total = done if stop is None or books.total is None else max(done, books.total)
    items = {
        "total": books.items + books.items_failed,
        "succeeded": books.items,
        "failed": books.items_failed,
    }
    if books.items_failed_at_least or stop is not None:
        items["at_least"] = True
    output = None
    if combined is not None:
        output = {
            "name": combined.name,
            "rows": combined.rows,
            "bytes": combined.bytes,
            "sha256": combined.sha256,
            **({} if combined.etag is None else {"etag": combined.etag}),
        }
    return {
        "status": status,
        "error": None if stop is None else {"type": stop.error.__name__, "message": stop.message},
        "mini_batches": {
            "total": total,
            "succeeded": books.succeeded,
            "failed": books.failed,
            **({"not_run": total - done} if total > done else {}),
        },
        "items": items,
        "tries": books.tries,
        "seconds": round(seconds, 3),
        "phases": dict(phases),
        "first_run_seconds": first_run,
        "run_seconds": round(books.run_seconds, 3),
        "output": output,
        "run_id": run_id,
        "epoch": epoch,
        "daskbatch_version": daskbatch.__version__,
        "options": public_options(spec),
    }
