"""The command `parkgate`: finds the verb's module, runs it, and is the one place that prints our errors.

A verb is a module of host_tools with `add_parser(subparsers)`, which adds the verb's own arguments, and
`run(args) -> int`, whose result is the exit code. Only the module of the verb that was typed is imported: a
web server's or a numeric library's start must not slow `parkgate --help`.

Exit codes: what the verb gives; 2 for a ParkgateError or wrong arguments; 130 after Ctrl-C.
"""

import argparse
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence

from parkgate.errors import ParkgateError

VERBS = {
    "demo": ("host_tools.sim.demo", "run gateways, meters, broker and hub on this computer"),
    "hub": ("host_tools.hub.verbs.hub", "receive, verify and store batches, answer with receipts, show them"),
    "enrol": ("host_tools.hub.verbs.enrol", "let the hub know a gateway's public key"),
    "operator": ("host_tools.hub.verbs.operators", "say who may enrol gateways at the hub over HTTP"),
    "simulate": ("host_tools.sim.simulate", "run one gateway on MicroPython's Unix port"),
    "meters": ("host_tools.meters.command", "list, check, scan for and simulate meters"),
    "boards": ("host_tools.image.boards", "list the boards and what each has"),
    "flash": ("host_tools.image.flash", "write MicroPython and the firmware to a board"),
    "provision": ("host_tools.gateway.provision", "give a gateway its identity and settings"),
    "settings": ("host_tools.gateway.settings", "show, check and change a gateway's settings"),
    "console": ("host_tools.gateway.console", "talk to a gateway's console"),
    "doctor": ("host_tools.gateway.doctor", "find out why a gateway does not deliver"),
    "pull": ("host_tools.gateway.pull", "fetch a gateway's journal by cable"),
    "import": ("host_tools.hub.verbs.import_messages", "store pulled batches at a hub"),
    "export": ("host_tools.hub.verbs.export", "write a hub's readings as SenML or CSV"),
    "audit": ("host_tools.audit", "verify a stored chain from its bytes"),
    "bench": ("host_tools.bench.command", "measure what the wire format costs for your data"),
    "libraries": (
        "host_tools.image.device_libraries",
        "fetch the MicroPython libraries of others that the device runs",
    ),
}
"""Verb → module and help, in the order of a gateway's life. Those without a module yet are not offered."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and give the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words).parse_args(words)
    try:
        return args.run(args)
    except ParkgateError as error:
        if args.debug:
            traceback.print_exc()
        else:
            print(f"parkgate {args.verb}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`parkgate pull | head`) has seen enough. Nothing more can be flushed to it.
        sys.stdout = None
        return EXIT_ERROR


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="parkgate", description="Host tools of Parkgate, the meter gateway."
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    typed = next((word for word in words if not word.startswith("-")), None)
    for verb, (module, summary) in VERBS.items():
        if not _exists(module):
            continue
        if verb == typed:
            loaded = importlib.import_module(module)
            loaded.add_parser(subparsers)
            subparsers.choices[verb].set_defaults(run=loaded.run)
        else:
            subparsers.add_parser(verb, help=summary)
    return parser


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
