"""Check the types of all code with pyright; `make check` runs this.

- host_tools is checked against CPython, by the settings in pyproject.toml.
- lib and tests are checked against CPython as well, tests by fewer rules (PASSED_OVER says which and why).
- lib, firmware and each board's folder are checked against MicroPython's own stubs, once for each board: what
  the port lacks is an error there. The stubs lie in build/stubs, one folder a port.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "build" / "pyright"
UP = "../.."  # from SETTINGS to ROOT: pyright wants relative paths
TEST_PATH = (".", "lib", "tests/core", "tests/sim", "tests/host", "firmware", "boards/unix")

# Test code that runs on MicroPython only.
DEVICE_TESTS = [
    f"{UP}/tests/bench/*_device.py",
    f"{UP}/tests/board/on_board/*.py",
    f"{UP}/tests/host/replay_device.py",
    f"{UP}/tests/host/sampling_memory_device.py",
]

RULES = {"typeCheckingMode": "standard", "reportMissingModuleSource": False}

# Rules whose findings are passed over in these folders, and why. Tests, and the fakes of the simulated board, have
# few annotations, so pyright infers the type of an attribute from all that is ever stored in it: "an int, or None
# before the start". Where the code knows better, these rules report a fault (about 1,300 in the tests). In firmware,
# most of what is left is about an object that is None until the board makes it, or about a call that a port's stub
# does not know. In lib every rule holds.
UNSURE = {
    "reportArgumentType", "reportAttributeAccessIssue", "reportCallIssue", "reportOptionalMemberAccess",
}  # fmt: skip
LOOSE = UNSURE | {
    "reportGeneralTypeIssues", "reportIndexIssue", "reportOperatorIssue", "reportOptionalCall",
    "reportOptionalIterable", "reportOptionalOperand", "reportOptionalSubscript",
}  # fmt: skip
PASSED_OVER = {"lib/": set(), "firmware/": UNSURE, "boards/unix/": LOOSE, "boards/": UNSURE, "tests/": LOOSE}


def port_of(board: str) -> str:
    """Give the name of the MicroPython port that a board's folder is for."""
    if board == "unix":
        return "unix"
    return "esp32" if board.startswith("esp32") else "rp2"


def cpython_settings() -> dict[str, object]:
    """Give pyright's settings for lib and tests on CPython."""
    return {
        "include": [f"{UP}/lib", f"{UP}/tests"],
        "exclude": DEVICE_TESTS,
        "extraPaths": [f"{UP}/{name}" for name in TEST_PATH],
        "pythonVersion": "3.10",
        **RULES,
    }


def board_settings(board: str) -> dict[str, object]:
    """Give pyright's settings for the firmware as it stands on this board."""
    folder = f"{UP}/boards/{board}"
    code = [f"{UP}/lib/parkgate", f"{UP}/firmware", folder]
    path = [f"{UP}/lib", f"{UP}/firmware", f"{UP}/build/device_lib", folder]
    # Code for the chips of another port, and for chips at all where there is none.
    foreign = {"unix": ["device", "rp2", "esp32"], "rp2": ["esp32"], "esp32": ["rp2"]}[port_of(board)]
    exclude = [f"{folder}/manifest.py"] + [f"{UP}/firmware/hal/{name}" for name in foreign]
    return {"exclude": exclude, **device_settings(port_of(board), code, path)}


def device_settings(port: str, code: list[str], path: list[str]) -> dict[str, object]:
    """Give pyright's settings for `code` that finds its modules on `path` under this port of MicroPython."""
    stdlib = f"{UP}/build/stubs/micropython_stdlib_stubs"
    return {
        "include": code,
        "extraPaths": [*path, stdlib],
        "typeshedPath": stdlib,
        "stubPath": f"{UP}/build/stubs/micropython_{port}_stubs",
        "pythonVersion": "3.12",
        "pythonPlatform": "Linux",
        **RULES,
    }


def is_answerable(found: dict[str, Any], file: str) -> bool:
    """Tell whether the author of lib, firmware or tests can answer for this finding."""
    rule, message = found.get("rule", ""), found["message"]
    passed_over = next((rules for folder, rules in PASSED_OVER.items() if file.startswith(folder)), set())
    if rule == "reportMissingImports":
        # The peers that a benchmark measures, and the board's emulator, lie in environments of their own.
        # And MicroPython's own modules are imported by tests that run on both where they exist.
        return not file.startswith(("tests/bench/", "tests/board/")) and '"vfs"' not in message
    if rule not in passed_over:
        return True
    if rule == "reportCallIssue":
        # An argument too many or too few; but no quarrel over what a list of this and that contains.
        return not message.startswith("No overloads")
    if rule == "reportAttributeAccessIssue":
        # `class "Name*"` is pyright's name for the type of `self`.
        if "umqtt." in message:  # a port's stub, which is thinner than the library that is used
            return False
        return "module" in message or "import symbol" in message or '*"' in message
    return False


def check(name: str, project: Path) -> int:
    """Run pyright once, print what it found, and give how many faults that are."""
    pyright = [
        sys.executable,
        "-m",
        "pyright",
        "--pythonpath",
        sys.executable,
        "--outputjson",
        "-p",
        str(project),
    ]
    finished = subprocess.run(pyright, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    report = json.loads(finished.stdout)
    faults = 0
    for found in report["generalDiagnostics"]:
        file = str(Path(found["file"]).relative_to(ROOT))
        if file.startswith("host_tools/") or is_answerable(found, file):
            line = found["range"]["start"]["line"] + 1
            print(f"{file}:{line}: {found['message']} ({found.get('rule', found['severity'])})")
            faults += 1
    files = report["summary"]["filesAnalyzed"]
    print(f"{name}: {files} files, {faults} faults", flush=True)
    # Settings that lead nowhere must not look like clean code.
    return faults if files else 1


def main() -> int:
    """Check the host, the tests, and the firmware for each board; give 1 if any has a fault."""
    boards = [folder.name for folder in sorted((ROOT / "boards").glob("*")) if any(folder.glob("*.py"))]
    generated = {"lib and tests on CPython": cpython_settings()}
    generated.update({f"lib and firmware on board {board}": board_settings(board) for board in boards})
    folders = ("lib", "firmware", "tests/core", "tests/sim", "tests/bench", "tests/board/on_board", "boards/unix")
    test_path = [f"{UP}/{folder}" for folder in folders]
    generated["tests on MicroPython"] = device_settings("rp2", DEVICE_TESTS, test_path)
    runs = {"host_tools on CPython": ROOT / "pyproject.toml"}
    SETTINGS.mkdir(parents=True, exist_ok=True)
    for name, settings in generated.items():
        runs[name] = SETTINGS / f"{name.replace(' ', '_')}.json"
        runs[name].write_text(json.dumps(settings, indent=1), encoding="utf-8")
    faults = [check(name, project) for name, project in runs.items()]
    return 1 if any(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
