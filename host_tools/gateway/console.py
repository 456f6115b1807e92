"""`parkgate console`: talk to a gateway's console, with history and completion; or one command after --."""

from __future__ import annotations

import contextlib
import sys

from host_tools.base import files, output, tracebacks
from host_tools.base.paths import state_folder
from host_tools.gateway.link import Link, add_port_argument
from parkgate.console import line as grammar
from parkgate.errors import LinkError, ParkgateError, SettingsError
from parkgate.settings.edit import help_entries

HISTORY = "console_history"
LONG_S = 130.0
_ALL_SHOWN = 9  # arguments: the gateway masks none of this command's in its echo


def add_parser(subparsers) -> None:
    """Arguments of `parkgate console`."""
    parser = subparsers.add_parser("console", help="talk to a gateway's console", description=__doc__)
    add_port_argument(parser)
    output.add_json(parser)
    parser.add_argument("command", nargs="*", help="one command, carried out without a prompt")


def run(args) -> int:
    """Raises LinkError, GatewayRefused."""
    if output.wanted(args) and not args.command:
        raise SettingsError("--json needs a command, such as: parkgate console --json status")
    with Link(args.port) as link:
        if args.code:
            link.unlock(args.code)
        if args.command:
            command = " ".join(args.command)
            lines = _asked(link, command)
            facts = dict(line.split(" = ", 1) for line in lines if " = " in line)
            output.show(args, {"command": command.split()[0], "lines": lines, "facts": facts}, lines)
            return 0
        return _converse(link)


def _asked(link: Link, command: str) -> list[str]:
    """The answer; in that of `log` the names of the source stand behind those that the board uses."""
    lines = link.ask(command, LONG_S, repeat=False)
    if not any("Traceback" in line for line in lines):
        return lines
    return tracebacks.in_words_of_the_source(lines, tracebacks.names(link.facts("identity")))


def keeps(line: str) -> bool:
    """Whether a line may go into the history file: nothing that could hold a secret may."""
    try:
        return grammar.find(line.split())[0][grammar.SHOWN] == _ALL_SHOWN
    except grammar.Refused:
        return False


def completions(text: str) -> list[str]:
    """Whole words that may stand where `text` ends."""
    paths = [path for path, _ in help_entries() if ".NAME." not in path]

    def candidates(name, index):
        return paths if name.startswith("settings ") and index == 0 else ()

    added, choices = grammar.complete(text, candidates)
    if choices:
        return list(choices)
    word = "" if text.endswith(" ") or not text else text.split()[-1]
    return [word + added.strip()] if added.strip() else []


def _converse(link: Link) -> int:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class Words(Completer):
        def get_completions(self, document, complete_event):
            text = document.text_before_cursor
            word = "" if text.endswith(" ") or not text else text.split()[-1]
            for choice in completions(text):
                yield Completion(choice, start_position=-len(word))

    class History(FileHistory):
        def store_string(self, string):
            if keeps(string):
                with contextlib.suppress(OSError):  # a full disk costs the history, not the conversation
                    super().store_string(string)

    try:
        folder = state_folder()
        files.make_folder(folder)
        files.check_target(folder / HISTORY)
        history = History(str(folder / HISTORY))
    except files.FileTrouble as error:
        print(f"what is typed is not kept for the next time: {error}", file=sys.stderr)
        history = InMemoryHistory()
    session: PromptSession = PromptSession(history=history, completer=Words(), complete_while_typing=False)
    print(f"gateway {link.facts('identity').get('gateway', '?')} on {link.port}; help shows the commands, Ctrl-D ends")
    while True:
        try:
            line = session.prompt("gateway> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        if not line:
            continue
        try:
            for answer in _asked(link, line):
                print(answer)
        except LinkError as error:
            print(error, file=sys.stderr)
        except ParkgateError as error:
            print(f"error: {error}", file=sys.stderr)
