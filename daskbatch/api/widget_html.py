"""A picture of a run as HTML: the same live, at the end, and in a saved notebook.

There is no script in it, and nothing is fetched. It comes in parts, so that a live view can exchange those alone that
have changed: what a reader has unfolded in the others stays as it is. So there a log's heading, which unfolds it, is a
part of its own before the log's. Where styles are stripped, as on code hosting sites, the text still tells all.
"""

from __future__ import annotations

import functools
import html
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from daskbatch.api.widget_files import Failure, LogEnd
from daskbatch.api.widget_picture import Picture, StepPicture
from daskbatch.report.words import quantity

__all__ = ["as_html", "as_text", "parts_of"]

_MARKS = {
    "NotStarted": ("wait", "○ Not started"),
    "Running": ("run", "● Running"),
    "Completed": ("good", "✓ Completed"),
    "Failed": ("bad", "✕ Failed"),
    "Canceled": ("off", "■ Canceled"),
    "Lost": ("bad", "? Lost"),
}


def as_html(picture: Picture, note: str = "") -> str:
    """The whole of it, for one output.

    Parameters
    ----------
    note : str
        A last line for people.
    """
    parts = [text for _, text in parts_of(picture, still=True)]
    if note:
        parts.append(_part(f'<div class="dbr-dim">{_text(note)}</div>'))
    return '<div class="dbr-all">' + "".join(f'<div class="dbr-part">{part}</div>' for part in parts) + "</div>"


def parts_of(picture: Picture, *, still: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the parts from top to bottom: a key, which stays the same, and HTML.

    Parameters
    ----------
    still : bool
        Whether it is for an output that does not change: with files below the current folder as links, which notebooks
        resolve there and not in widgets.
    """
    place = _Places(picture.folder, links=still)
    yield "style", f"<style>{_style()}</style>"
    yield "head", _part(_head(picture))
    for number, step in enumerate(picture.steps):
        yield f"step-{number}", _part(_step(step, place), "dbr-step")
        for index, failure in enumerate(step.failures):
            yield f"step-{number}-failure-{index}", _part(_failure(failure))
        if step.failures and step.failed_file is not None:
            yield f"step-{number}-more", _part(_more(step, place))
    logs = [(log, log.name) for log in picture.logs]
    alone = len(picture.steps) == 1 and not picture.logs
    for step in picture.steps:
        logs += [(log, log.name if alone else f"{step.name}, {log.name}") for log in step.logs]
    for log, name in logs:
        if still:
            yield f"log-{name}", _part(_heading(log, name, place, _log(log)), "dbr-heading")
        else:
            yield f"log-{name}-heading", _part(_heading(log, name, place), "dbr-heading")
            yield f"log-{name}", _part(_log(log), "dbr-apart")
    yield "foot", _part(f'<div class="dbr-dim">Folder: <code>{_text(picture.folder)}</code></div>', "dbr-foot")


@functools.cache
def _style() -> str:
    return Path(__file__).with_name("widget.css").read_text(encoding="utf-8")


def as_text(picture: Picture) -> str:
    """What a terminal shows."""
    lines = [f"Run {picture.title}: {_mark(picture.state)[1]}"]
    width = max(len(step.name) for step in picture.steps)
    for step in picture.steps:
        facts = ", ".join(_facts(step))
        lines.append(f"  {step.name:{width}}  {_state(step):13}  {facts}".rstrip())
        lines += [f"    {one.name}: {one.error}: {one.message}" for one in step.failures]
        if step.failures and step.failed > len(step.failures):
            lines.append(f"    All failures: {step.failed_file}")
        if step.error and not step.failures:
            lines.append(f"    {_first(step.error)}")
    return "\n".join(lines)


def _part(content: str, kind: str = "") -> str:
    return f'<div class="dbr {kind}">{content}</div>' if kind else f'<div class="dbr">{content}</div>'


def _text(value: object) -> str:
    """Escaped, and printable whatever bytes a file's name has."""
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode())


def _first(text: str) -> str:
    return text.strip().partition("\n")[0]


def _mark(state: str) -> tuple[str, str]:
    return _MARKS.get(state, ("wait", state))


def _state(step: StepPicture) -> str:
    return _mark(step.state)[1] + (" (reused)" if step.reused else "")


def _time(seconds: float) -> str:
    """In the units that people read.

    >>> _time(0.34), _time(34.2), _time(125), _time(7384)
    ('0.3 s', '34 s', '2 min 5 s', '2 h 3 min')
    """
    if 0 <= seconds < 1:
        return f"{seconds:.1f} s"
    minutes, second = divmod(max(0, round(seconds)), 60)
    if minutes < 60:
        return f"{minutes} min {second} s" if minutes else f"{second} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _pill(state: str, text: str) -> str:
    return f'<span class="dbr-pill dbr-{_mark(state)[0]}">{_text(text)}</span>'


def _head(picture: Picture) -> str:
    done = sum(step.state == "Completed" for step in picture.steps)
    facts = [] if len(picture.steps) == 1 else [f"{done} of {len(picture.steps)} steps completed"]
    if picture.seconds is not None:
        facts.append(_time(picture.seconds))
    told = {step.error for step in picture.steps}
    error = f'<pre class="dbr-error">{_text(picture.error)}</pre>' if picture.error and not any(told) else ""
    return (
        f'<div class="dbr-line">{_pill(picture.state, _mark(picture.state)[1])} '
        f'<strong class="dbr-title">{_text(picture.title)}</strong> '
        f'<span class="dbr-right dbr-dim">{_text(" · ".join(facts))}</span></div>{error}'
    )


def _step(step: StepPicture, place: _Places) -> str:
    times = [] if step.seconds is None else [_time(step.seconds)]
    if step.state == "Running" and step.remaining is not None:
        times.append(f"about {_time(step.remaining)} left")
    line = (
        f'<div class="dbr-line"><strong class="dbr-name">{_text(step.name)}</strong> '
        f'{_pill(step.state, _state(step))} <span class="dbr-right dbr-dim">{_text(" · ".join(times))}</span></div>'
    )
    facts = " · ".join(
        f'<span class="dbr-told-bad">{_text(fact)}</span>' if fact.endswith("failed") else _text(fact)
        for fact in _facts(step)
    )
    error = f'<pre class="dbr-error">{_text(step.error)}</pre>' if step.error else ""
    result = ""
    if step.result is not None:
        result = f'<div class="dbr-dim">Result: {place.of(step.result)}</div>'
    return f'{line}{_bar(step)}<div class="dbr-facts">{facts}</div>{error}{result}'


def _facts(step: StepPicture) -> list[str]:
    """Counts for people, the most telling first."""
    facts = [step.phase] if step.phase else []
    if step.done is None or step.total is None:
        return facts
    percent = f" ({_percent(step.done, step.total)})" if step.total else ""
    about = "" if step.exact else "about "
    facts.append(f"{step.done:,} of {about}{quantity(step.total, 'mini-batch')}{percent}")
    facts.append(f"{quantity(step.items, 'item')} done")
    if step.failed:
        facts.append(f"{quantity(step.failed, 'mini-batch')} failed")
    if step.items_failed:
        facts.append(f"{quantity(step.items_failed, 'item')} failed")
    if step.retries:
        facts.append(quantity(step.retries, "retry"))
    if step.rate is not None and not step.reused:
        facts.append(f"{step.rate:,.0f} items/s" if step.rate >= 10 else f"{step.rate:.1f} items/s")
    return facts


def _percent(part: int, whole: int) -> str:
    """Never 100 % before it is all."""
    return f"{min(99, round(100 * part / whole)) if part < whole else 100} %"


def _bar(step: StepPicture) -> str:
    total = step.total or 0
    done, failed = (step.done or 0, step.failed) if total else (0, 0)
    good = 100 * max(0, done - failed) / total if total else 0.0
    bad = min(100 - good, 100 * failed / total) if total else 0.0
    kind = "good" if step.state == "Completed" else "off" if step.state == "Canceled" else "run"
    return (
        f'<div class="dbr-bar" role="progressbar" aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}"'
        f' aria-label="{_text(step.name)}"><i class="dbr-{kind}" style="width:{good:.2f}%"></i>'
        f'<i class="dbr-bad" style="width:{bad:.2f}%"></i></div>'
    )


def _failure(failure: Failure) -> str:
    where = f'<span class="dbr-dim"> · {_text(failure.where)}</span>' if failure.where else ""
    paths = "\n".join(failure.paths)
    files = f'<pre class="dbr-paths">{_text(paths)}</pre>' if paths else ""
    traceback = f"<pre>{_text(failure.traceback)}</pre>" if failure.traceback else ""
    return (
        f'<details class="dbr-failure"><summary><code>{_text(failure.name)}</code> '
        f'<span class="dbr-told-bad">{_text(failure.error)}</span>: {_text(failure.message)}{where}</summary>'
        f'<div class="dbr-inside"><div class="dbr-dim">{_text(failure.told)}</div>{files}{traceback}</div></details>'
    )


def _more(step: StepPicture, place: _Places) -> str:
    assert step.failed_file is not None
    shown = f"These are the first {len(step.failures)} of {step.failed:,}. " if step.failed > len(step.failures) else ""
    return f'<div class="dbr-dim dbr-more">{shown}All failures: {place.of(step.failed_file)}</div>'


def _heading(log: LogEnd, name: str, place: _Places, content: str = "") -> str:
    return (
        f'<details class="dbr-toggle"><summary>Log: {_text(name)}</summary>'
        f'<div class="dbr-inside dbr-dim">{place.of(log.path)}</div>{content}</details>'
    )


def _log(log: LogEnd) -> str:
    lines = "\n".join(log.lines)
    return f'<div class="dbr-log"><pre>{_text(lines)}</pre></div>'


class _Places:
    """Paths as people see them: from the run's folder on, where they lie in it.

    Parameters
    ----------
    folder : Path
        The run's.
    links : bool
        Whether those below the current folder are links.
    """

    def __init__(self, folder: Path, *, links: bool) -> None:
        self._folder, self._links = folder, links
        self._here = Path.cwd()

    def of(self, path: Path) -> str:
        """A path as HTML."""
        shown = path.relative_to(self._folder) if path.is_relative_to(self._folder) else path
        text = f"<code>{_text(shown)}</code>"
        if not self._links or not path.is_relative_to(self._here):
            return text
        target = urllib.parse.quote(os.fsencode(path.relative_to(self._here)))
        return f'<a href="{target}" target="_blank" rel="noopener">{text}</a>'
