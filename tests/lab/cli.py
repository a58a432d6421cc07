"""The command line: `python -m tests.lab up | down | status | build | image`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError
from .lab import Lab
from .settings import NODE
from .shell import say

REPOSITORY = Path(__file__).resolve().parents[2]


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="install and build what is missing (about 6 minutes, once)")
    up = commands.add_parser("up", help="start the cluster, or what of it does not run")
    up.add_argument("--gpus", type=int, default=2, help="GPUs that the node claims to have (default 2)")
    commands.add_parser("down", help="end the cluster and remove all but the cache")
    commands.add_parser("status", help="what runs; exit code 0 only if all is up")
    image = commands.add_parser("image", help="make and load container images").add_subparsers(
        dest="image_command", required=True
    )
    image.add_parser("base", help="make the pause image and the Python base image")
    build = image.add_parser("build", help="build a Dockerfile on the Python base; prints the OCI archive")
    build.add_argument("--tag", required=True)
    build.add_argument("--target", help="the Dockerfile's stage (default: the last)")
    build.add_argument("--context", type=Path, default=REPOSITORY, help="default: this repository")
    build.add_argument("--file", type=Path, help="default: the context's Dockerfile")
    build.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE")
    build.add_argument("--load", action="store_true", help="load it into the running lab too")
    load = image.add_parser("load", help="load an OCI archive into the running lab; prints the image's name")
    load.add_argument("archive", type=Path)
    return top


def build_arguments(pairs: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE options as a dict."""
    for pair in pairs:
        if "=" not in pair:
            raise LabError(f"--build-arg wants KEY=VALUE, not {pair!r}")
    return dict(pair.split("=", 1) for pair in pairs)


def up(lab: Lab) -> int:
    """Start, and say where the kubeconfig is."""
    lab.up()
    for name, version in lab.versions().items():
        print(f"{name} {version}")
    print(f"kubectl {lab.kubectl_program}")
    print(f"prefix {' '.join(lab.nsenter_prefix())}")
    print(f"kubeconfig {lab.kubeconfig}")
    return 0


def down(lab: Lab) -> int:
    """End, and say what of others is left."""
    for process in lab.down():
        say(f"still running in the lab's network, and not started by it: {process}; end it yourself")
    return 0


def status(lab: Lab) -> int:
    """One line per component."""
    now = lab.status()
    for name, pid in now.components.items():
        print(f"{name:24} {'down' if pid is None else f'up    pid {pid}'}")
    print(f"{'API':24} {'ready' if now.api_ready else 'not ready'}")
    print(f"{'node ' + NODE:24} {'ready' if now.node_ready else 'not ready'}")
    print(f"{'GPUs':24} {now.gpus}")
    return 0 if now.all_up else 1


def image(lab: Lab, options: argparse.Namespace) -> int:
    """Make or load images."""
    if options.image_command == "base":
        for archive in lab.build_base_images():
            print(archive)
    elif options.image_command == "load":
        print(lab.load_image(options.archive))
    else:
        archive = lab.build_image(
            tag=options.tag,
            target=options.target,
            context=options.context,
            file=options.file,
            build_args=build_arguments(options.build_arg),
        )
        print(archive)
        if options.load:
            print(lab.load_image(archive))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what is wrong is said in a sentence, not in a traceback."""
    options = parser().parse_args(arguments)
    started = time.monotonic()
    try:
        lab = Lab(gpus=options.gpus) if options.command == "up" else Lab()
        if options.command == "build":
            lab.build()
            code = 0
        elif options.command == "image":
            code = image(lab, options)
        else:
            code = {"up": up, "down": down, "status": status}[options.command](lab)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    say(f"{options.command}: {time.monotonic() - started:.1f} s")
    return code
