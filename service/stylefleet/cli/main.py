"""The `stylefleet` command: thin. Each command imports what it needs when it runs, so that help is quick and the
commands that only talk to a bucket never load TensorFlow.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from stylefleet import __version__
from stylefleet.cli import authoring, config_files, pages, runs, views
from stylefleet.cli.options import BucketOption, EndpointOption, NameArgument, RegionOption
from stylefleet.errors import NotFound, StylefleetError, printable_lines
from stylefleet.recipe import BACKBONES, PRESETS

app = typer.Typer(
    name="stylefleet",
    help="Restyle whole image catalogs with neural style transfer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)


def main() -> None:
    """Entry point: failures become one line on stderr and a pinned exit code."""
    # Process 1 of a container has no default action: without this, SIGTERM would be ignored until the controller or the
    # worker listens for it.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        app()
    except (StylefleetError, OSError) as error:
        # An OSError: a folder that is not there, a file that may not be read, a port that is taken.
        _complain(error)
        from stylefleet.cli import exit_codes

        sys.exit(exit_codes.of_error(error))


def _complain(error: Exception) -> None:
    sentences = printable_lines(str(error))
    if os.environ.get("NO_COLOR"):
        typer.echo(f"stylefleet: {sentences}", err=True)
    else:
        typer.secho(f"stylefleet: {sentences}", err=True, fg="red")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"stylefleet {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return
    commands: dict[str, object] = getattr(context.command, "commands", {})
    command = commands.get(context.invoked_subcommand)
    if command is not None and config_files.takes_settings(command):
        context.obj = config_files.read(os.environ)
        context.default_map = {context.invoked_subcommand: config_files.defaults_for(command, context.obj)}


@app.command()
def stylize(
    content: Annotated[Path, typer.Argument(help="The picture to restyle.")],
    style: Annotated[Path, typer.Argument(help="The picture whose style it gets.")],
    out: Annotated[Path, typer.Argument(help="Where the result goes: .jpg, .png or .webp.")],
    size: Annotated[int | None, typer.Option(help="Longer edge of the result in pixels.", show_default="512")] = None,
    preset: Annotated[str | None, typer.Option(help=f"One of {', '.join(PRESETS)}.", show_default="balanced")] = None,
    colors: Annotated[
        str | None, typer.Option(help="style, match or luminance: whose colours.", show_default="style")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the starting noise.", show_default="0")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="A manifest whose recipe and output form to try on this picture.")
    ] = None,
    also: Annotated[list[Path] | None, typer.Option(help="A further style, blended in; may be repeated.")] = None,
    protect: Annotated[Path | None, typer.Option(help="A mask, white where the picture is left alone.")] = None,
    start: Annotated[Path | None, typer.Option(help="What is painted over, for recipes that say so.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(BACKBONES)}.", show_default=BACKBONES[0])
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(envvar="STYLEFLEET_VGG19_WEIGHTS", help="File with the VGG19 weights.")
    ] = None,
    weights_sha256: Annotated[
        str | None, typer.Option(envvar="STYLEFLEET_VGG19_SHA256", help="SHA-256 that this file must have.")
    ] = None,
) -> None:
    """Restyle one picture on this machine, without any service.

    Example: stylefleet stylize photo.jpg starry_night.jpg out.jpg --size 512 --preset balanced

    Every field of a recipe can be tried: stylefleet stylize photo.jpg style.jpg out.png --manifest spring.yaml
    """
    for path in (content, style, *(also or []), *filter(None, [protect, start, manifest])):
        if not path.exists():  # said before NumPy is loaded
            raise NotFound(f"{path}: no such file")
    from stylefleet.cli import stylize as command

    fields = {"size": size, "preset": preset, "colors": colors, "seed": seed, "backbone": backbone}
    command.run(
        content,
        [style, *(also or [])],
        out,
        manifest=manifest,
        fields={name: value for name, value in fields.items() if value is not None},
        protect=protect,
        start=start,
        weights=weights,
        weights_sha256=weights_sha256,
    )


app.command()(authoring.init)
app.command()(authoring.validate)
app.command()(authoring.explain)


@app.command()
def plan(
    manifest: Annotated[Path, typer.Argument(help="The manifest file.")],
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    tenant: Annotated[
        str, typer.Option(help="In whose folder it would be, where there are tenants.", show_default=False)
    ] = "",
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
) -> None:
    """Say what a manifest would come to: pictures, what is skipped and why, shards, GPU-hours, cost, time. Only reads.

    It goes by the controller's STYLEFLEET_* variables where they are set here; see the README.

    Example: stylefleet plan spring-catalog.yaml
    """
    from stylefleet.cli import bucket as commands

    # First: what follows takes several times as long to load.
    file = commands.read_manifest(manifest, tenant)
    from stylefleet.cli import plan as command
    from stylefleet.settings import controller_settings

    settings = controller_settings({**os.environ, "STYLEFLEET_BUCKET": bucket})
    store = commands.open_store(endpoint, region)
    raise typer.Exit(command.run(store, file, settings, output=output))


@app.command()
def submit(
    manifest: Annotated[Path, typer.Argument(help="The manifest file; its name is metadata.name.")],
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    tenant: Annotated[
        str, typer.Option(help="Whose folder of the inbox it goes to, where there are tenants.", show_default=False)
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run has ended.")] = False,
) -> None:
    """Check a manifest and put it into the inbox; put again, it restyles only what is new.

    Example: stylefleet submit spring-catalog.yaml --wait
    """
    from stylefleet.cli import bucket as commands

    file = commands.read_manifest(manifest, tenant)
    store = commands.open_store(endpoint, region)
    raise typer.Exit(commands.submit(store, bucket, file, wait_for_end=wait))


@app.command()
def wait(
    name: NameArgument,
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show a run's progress until it has ended; the exit code says how: 0 all done, 3 some or all failed, 2 rejected, 6
    cancelled, 7 ended by its deadline or by too many failures. Ctrl-C leaves it running, with 130.

    Example: stylefleet wait spring-catalog && echo done
    """
    from stylefleet.cli import bucket as commands

    raise typer.Exit(commands.wait(commands.open_store(endpoint, region), bucket, name))


@app.command()
def top(
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    tenant: Annotated[str, typer.Option(help="This tenant's runs only.", show_default=False)] = "",
    once: Annotated[bool, typer.Option("--once", help="Print one frame and exit.")] = False,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json (one document).")] = "table",
) -> None:
    """Show all runs as they go: phase, pictures, pace, time left, cost, and why one waits. q or Ctrl-C leaves.

    It reads the statuses in the bucket and nothing else.

    Example: stylefleet top
    """
    from stylefleet.cli import bucket as commands
    from stylefleet.cli import top as command

    command.run(commands.open_store(endpoint, region), bucket, tenant=tenant, once=once, output=output)


config = typer.Typer(help="The settings of these commands.", no_args_is_help=True)
config.command("show")(views.show_config)
app.add_typer(config, name="config")
app.command()(views.status)
app.command("list")(views.list_runs)
app.command()(views.results)
app.command()(views.logs)
app.command()(pages.explore)
for _command in (runs.cancel, runs.pause, runs.resume, runs.retry, runs.audit, pages.gallery, pages.compare):
    app.command()(_command)


@app.command()
def schema() -> None:
    """Print the manifest's JSON Schema, for editors.

    Example: stylefleet schema > stylejob.schema.json
    """
    import json

    from stylefleet.manifest import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def controller(
    once: Annotated[bool, typer.Option("--once", help="Look at the inbox once and exit.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Log what would be done, change nothing.")] = False,
) -> None:
    """Run the controller. Settings come from STYLEFLEET_* variables; see the README.

    Example: STYLEFLEET_BUCKET=shop stylefleet controller --once --dry-run
    """
    from stylefleet import logs, loop
    from stylefleet.settings import controller_settings

    logs.configure(component="controller")
    loop.run(controller_settings(), once=once, dry_run=dry_run)


@app.command()
def retire(
    seconds: Annotated[int, typer.Option(help="How long workers may take to end.")] = 240,
) -> None:
    """End all workers in the cluster and remove their Jobs; a controller that is installed again goes on.

    `helm uninstall` runs it. Settings come from the controller's variables.

    Example: stylefleet retire
    """
    from stylefleet import logs, loop
    from stylefleet import retire as command
    from stylefleet.settings import controller_settings

    logs.configure(component="retire")
    settings = controller_settings()
    cluster = loop.kubernetes_cluster(settings)
    command.retire(cluster, settings.store.bucket, namespaces=settings.namespaces, seconds=seconds)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    gpus: Annotated[int, typer.Option(min=0, max=1, help="GPUs that the probe asks for, as manifests do.")] = 1,
    queue: Annotated[str | None, typer.Option(help="Queue that the probe goes through, as manifests name it.")] = None,
    tenant: Annotated[str, typer.Option(help="In whose namespace to look and probe.", show_default="our own")] = "",
    wait_seconds: Annotated[
        int, typer.Option(min=1, help="How long the probe may take to be scheduled, pulled and run.")
    ] = 180,
    worker: Annotated[Path | None, typer.Option(hidden=True, help="A probe's own part: write its checks here.")] = None,
) -> None:
    """Say what is wrong with the bucket, the cluster and the workers, and what to do; exit code 0 if nothing is.

    It reads the controller's variables and uses the controller's rights. On Kubernetes it runs one short Job, which it
    removes.

    Example: stylefleet doctor --json
    """
    if worker is not None:
        # By name: see the command worker.
        import importlib

        raise typer.Exit(importlib.import_module("stylefleet.doctor_worker").main(os.environ, worker, gpus=gpus))
    from stylefleet.cli import doctor as command

    outcome = command.run(as_json=as_json, gpus=gpus, queue=queue, tenant=tenant, wait_seconds=wait_seconds)
    raise typer.Exit(outcome)


@app.command()
def worker() -> None:
    """Do one shard of a run; started by the cluster, not by hand."""
    began = time.monotonic()
    import importlib

    from stylefleet import logs
    from stylefleet.stopping import stop_on_sigterm

    logs.configure(component="worker")
    # Before TensorFlow is imported, which takes long: process 1 of a container gets only signals that it waits for.
    stop = stop_on_sigterm()
    # By name: the commands above must not reach TensorFlow through an import (import-linter holds it).
    raise typer.Exit(importlib.import_module("stylefleet.worker_main").main(os.environ, stop, began=began))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-out"),
) -> None:
    """Restyle the sample photos on this machine with everything real: S3 server, controller, workers.

    Example: stylefleet demo
    """
    from stylefleet.cli import demo as command

    raise typer.Exit(command.run(out))


if __name__ == "__main__":
    main()
