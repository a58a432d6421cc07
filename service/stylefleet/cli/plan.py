"""`stylefleet plan`: what a manifest would cost and take, before it is submitted. Only reads."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from stylefleet import price as prices
from stylefleet.cli.bucket import ManifestFile, duration
from stylefleet.cli.diagnostics import print_errors
from stylefleet.cli.options import Output
from stylefleet.cli.output import print_document, shown
from stylefleet.errors import ExitCode, ManifestInvalid, SettingsInvalid
from stylefleet.forecast import Forecast, forecast, to_document
from stylefleet.planner import Pace
from stylefleet.settings import ControllerSettings
from stylefleet.store import Store


def run(store: Store, file: ManifestFile, settings: ControllerSettings, *, output: str) -> ExitCode:
    """Print the forecast; INVALID with every broken rule where the controller would reject the manifest."""
    if output not in ("table", "json"):
        raise SettingsInvalid(f"-o: found {output!r}, allowed are table and json")
    try:
        found = forecast(
            store,
            settings.store.bucket,
            name=file.name,
            manifest=file.manifest,
            pace=Pace(shard_seconds=settings.shard_seconds, worker_flops=settings.worker_flops),
            price=settings.price,
            workers_max=settings.parallelism_max,
        )
    except ManifestInvalid as error:
        print_errors(file.path, error)
        return ExitCode.INVALID
    if output == "json":
        print_document(to_document(found), Output.JSON)
    else:
        Console(soft_wrap=True).print(table(found), highlight=False)
    return ExitCode.OK


def table(found: Forecast) -> Table:
    """The forecast for a terminal."""
    draft = found.draft
    rows = Table(show_header=False, box=None, pad_edge=False)
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("name", shown(found.name))
    rows.add_row("pictures", f"{draft.pictures:,}")
    skipped = draft.pictures - draft.to_do
    if skipped:
        rows.add_row("skipped", f"{skipped:,}: an earlier run has made the result, and nothing has changed since")
    rows.add_row("to do", f"{draft.to_do:,}{_why(found)}")
    if draft.left_out.count:
        examples = ", ".join(shown(path) for path in draft.left_out.first)
        more = ", ..." if draft.left_out.count > len(draft.left_out.first) else ""
        rows.add_row(
            "left out", f"{draft.left_out.count:,} by include and exclude, or as styles and masks: {examples}{more}"
        )
    if draft.to_do:
        rows.add_row("shards", f"{draft.shards:,} of up to {draft.tasks_per_shard:,} pictures")
        rows.add_row("a picture takes", f"{draft.prediction.seconds:.3g} s, {shown(draft.prediction.source)}")
        kind = "GPU-hours" if found.gpus else "worker-hours"
        rows.add_row(kind, _hours(found.worker_seconds * max(1, found.gpus) / 3600))
        rows.add_row("ready in about", f"{duration(found.eta_seconds)}, with {_workers(found.workers)} at a time")
    if found.cost is not None and found.price is not None:
        rows.add_row("cost", f"[bold]{prices.in_words(found.cost, found.price.currency)}[/]")
        rows.add_row("", f"[dim]{prices.LEFT_OUT}[/]")
    return rows


def _why(found: Forecast) -> str:
    """Where something was done before: why it is done again."""
    parts = [
        (found.because.new, "new or changed, or not done before"),
        (found.because.gone, "done before, but the result is gone"),
        (found.because.replaced, "done before, but something else lies in the result's place"),
    ]
    if found.because.new == found.draft.pictures:
        return ""
    told = ", ".join(f"{count:,} {why}" for count, why in parts if count)
    return f": {told}" if told else ""


def _hours(hours: float) -> str:
    return f"{hours:,.2f}" if hours >= 0.01 else "less than 0.01"


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count:,} workers"
