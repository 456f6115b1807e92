"""The command `parkgate`: finds the verb's module, runs it, and is the one place that prints our errors.

A verb is a module of host_tools with `add_parser(subparsers)`, which adds the verb's own arguments, and
`run(args) -> int`, whose result is the exit code. Only the module of the verb that was typed is imported: a
web server's or a numeric library's start must not slow `parkgate --help`.

Exit codes: what the verb gives; 2 for a ParkgateError, a file, disk or terminal that fails, or wrong arguments; 130
after Ctrl-C. Each of these is one sentence on standard error, never a traceback; with --json a document says it too.
"""

import signal
import sys

# While this program loads, Ctrl-C ends it like any other: an import that is interrupted would print a traceback.
# (host_tools/parkgate has done the same before; this is for python -m.)
_DEAF = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # started in the background
if not _DEAF and __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import _thread  # noqa: E402
import argparse  # noqa: E402
import importlib  # noqa: E402
import importlib.util  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from host_tools.base import files, output  # noqa: E402
from parkgate import VERSION  # noqa: E402
from parkgate.errors import ParkgateError  # noqa: E402

VERBS = {
    "demo": ("host_tools.sim.demo", "run gateways, meters, broker and hub on this computer"),
    "hub": ("host_tools.hub.verbs.hub", "receive, verify and store batches, answer with receipts, show them"),
    "enrol": ("host_tools.hub.verbs.enrol", "let the hub know a gateway's public key"),
    "park": ("host_tools.hub.park.command", "say which meter stands behind which, so that none counts twice"),
    "meter-register": (
        "host_tools.hub.park.metering.command",
        "say which meter it is and who calibrated it; what is past due",
    ),
    "alarm": ("host_tools.hub.alarms.command", "list and acknowledge alarms, set limits, test the messages"),
    "place": ("host_tools.hub.verbs.place", "list, add, rename places; replace the gateway of a place"),
    "tariff": ("host_tools.hub.park.money.command_tariff", "check tariff files"),
    "bill": ("host_tools.hub.park.money.command_bill", "write what a gateway's month costs, line by line"),
    "enpi": ("host_tools.evidence.enpi.command", "energy baselines and performance indicators of a place"),
    "evidence": (
        "host_tools.evidence.pack.command",
        "one file of figures, meters and proofs for a buyer or an auditor",
    ),
    "oee": ("host_tools.evidence.command_oee", "overall equipment effectiveness of a station"),
    "root": ("host_tools.hub.verbs.root", "keep three keys off the hub that can give it new ones"),
    "log": ("host_tools.hub.verbs.log", "show the hub's log, prove what is in it, check it"),
    "account": ("host_tools.hub.people.command", "list, add and remove people who sign in at the hub's page"),
    "operator": (
        "host_tools.hub.people.command_operator",
        "list, add and remove operators: who may enrol gateways over HTTP",
    ),
    "simulate": ("host_tools.sim.simulate", "run one gateway on MicroPython's Unix port"),
    "meters": ("host_tools.gateway.meters", "list, check, scan for, add and simulate meters"),
    "boards": ("host_tools.image.boards", "list the boards and what each has"),
    "flash": ("host_tools.image.flash", "write MicroPython and the firmware to a board"),
    "provision": ("host_tools.gateway.provision", "give a gateway its identity and settings"),
    "commission": ("host_tools.gateway.commissioning.commission", "put the meters of a hall into service"),
    "settings": ("host_tools.gateway.settings", "show, check and change a gateway's settings"),
    "console": ("host_tools.gateway.console", "talk to a gateway's console"),
    "doctor": ("host_tools.gateway.doctor", "find out why a gateway does not deliver"),
    "pull": ("host_tools.gateway.pull", "fetch a gateway's journal by cable"),
    "import": ("host_tools.hub.verbs.import_messages", "store pulled batches at a hub"),
    "export": ("host_tools.hub.export.command", "write a hub's readings as SenML or CSV"),
    "lot": (
        "host_tools.hub.production.command",
        "show, recall and print lots: what was made, with its time and energy",
    ),
    "archive": ("host_tools.archive.command", "write a file of signed readings that anybody can check alone"),
    "bench": ("host_tools.bench.command", "measure what the wire format costs for your data"),
    "libraries": (
        "host_tools.image.device_libraries",
        "fetch the MicroPython libraries of others that the device runs",
    ),
}
"""Verb → module and help, in the order of a gateway's life. Those without a module yet are not offered."""

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def command() -> int:
    """The program: `main` with the standard streams made ready, and Ctrl-C without a traceback from start to end."""
    output.open_all_three()
    output.prepare()
    _ctrl_c(signal.default_int_handler)
    sys.unraisablehook = _unraisable
    try:
        return main()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        _ctrl_c(signal.SIG_DFL)  # what Python still does at its end has no sentence for it either
        output.give_up()


def _unraisable(caught) -> None:
    """Ctrl-C may come while Python runs code whose errors it only prints, such as the callback of a weak reference in
    an import. It comes again then, where it ends the program."""
    if issubclass(caught.exc_type, KeyboardInterrupt):
        _thread.start_new_thread(_interrupt_soon, ())  # not from here: this too is code whose errors are only printed
    else:
        sys.__unraisablehook__(caught)


def _interrupt_soon() -> None:
    time.sleep(0.01)
    _thread.interrupt_main()


def _ctrl_c(handler) -> None:
    if not _DEAF:
        signal.signal(signal.SIGINT, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and give the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in words if not word.startswith("-")), None)
    args = None
    try:
        args = _parser(words).parse_args(words)
        code = args.run(args)
        output.finish()
        return code
    except ParkgateError as error:
        kind, text, caught = type(error).__name__, str(error), error
        if args is None and not isinstance(error, files.FileTrouble):
            raise  # while a module was loaded: a fault of this program
    except BrokenPipeError:
        # The reader of a pipe (`parkgate export | head`) has seen enough. Nothing more can be written to it.
        output.give_up()
        return EXIT_ERROR
    except OSError as error:
        kind, text, caught = "OSError", _of_system(error), error
    except Exception as error:
        # What SQLite says of a disk or a file (its module may not be loaded: most verbs want none).
        if type(error).__module__ != "sqlite3":
            raise
        kind, text, caught = "DatabaseError", f"the hub's database: {error}", error
    except KeyboardInterrupt as interrupt:
        _report(verb, args, words, "Interrupted", str(interrupt) or _interrupted(args), EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED
    if "--debug" in words:
        traceback.print_exception(caught)
        return EXIT_ERROR
    _report(verb, args, words, kind, text, EXIT_ERROR)
    return EXIT_ERROR


def _of_system(error: OSError) -> str:
    """A failure of the system that no verb has words for: which file, if any, and why."""
    return f"{error.filename}: {files.why(error)}" if error.filename is not None else files.why(error)


def _interrupted(args) -> str:
    """What a verb says after Ctrl-C, in its module's AFTER_CTRL_C; what was raised may say more."""
    module = sys.modules.get(getattr(getattr(args, "run", None), "__module__", ""))
    return getattr(module, "AFTER_CTRL_C", "")


def _report(verb: str | None, args, words: list[str], kind: str, text: str, exit_code: int) -> None:
    """One sentence on standard error, and the document where one was asked for. Where neither can be written there is
    nobody to tell: the exit code does."""
    try:
        if text:
            text_lines = [output.plain(line) for line in text.split("\n")]
            print(f"parkgate {verb}: " + "\n".join(text_lines), file=sys.stderr, flush=True)
        if output.wanted(args) or args is None and "--json" in words:
            print(output.error_document(output.verb_of(args) if args else verb, kind, text, exit_code), flush=True)
    except (OSError, ValueError):
        output.give_up()


class _Parser(argparse.ArgumentParser):
    """argparse, whose errors are a document too where one was asked for."""

    json_wanted = False
    verb: str | None = None

    def error(self, message):
        if _Parser.json_wanted:
            print(output.error_document(_Parser.verb, "ArgumentError", message, EXIT_ERROR), flush=True)
        super().error(message)


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(prog="parkgate", description="Host tools of Parkgate, the meter gateway.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--version", action="version", version=f"parkgate {VERSION}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    typed = next((word for word in words if not word.startswith("-")), None)
    _Parser.json_wanted, _Parser.verb = "--json" in words and typed != "demo", typed
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
    sys.exit(command())
