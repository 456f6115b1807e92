"""Library, firmware and tests/core as the build writes them for a board: unused code taken out, names exchanged.

`write(folder)` puts them where their sources are in the checkout, so that files beside them are found as usual.
"""

from pathlib import Path

from host_tools.image.app import app_image, firmware_names, private_names, shrink

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("lib", "firmware", "build/device_lib", "boards/unix", "tests/core", "tests/sim")
SEARCH = ("lib", "tests/core", "tests/sim", "firmware", "build/device_lib", "boards/unix")
BESIDE = ("tests/vectors", "lib/meters", "tests/reference")
# They reach into a module from outside (a patched function, a name put together), which the firmware may not do.
NOT_TRANSFORMED = ("journal_cuts", "littlefs_cuts", "test_mqtt_packets", "test_p256")


def write(folder: Path) -> list[str]:
    """Write the tree; names of the test files in it."""
    paths: dict[str, Path] = {}
    for top in SOURCES:
        for path in sorted((ROOT / top).rglob("*.py")):
            name = app_image._dotted(path.relative_to(ROOT / top).as_posix())
            if not name.startswith(("main", "prompt.")) and name not in NOT_TRANSFORMED:
                paths.setdefault(name, path)
    tests = tuple(sorted(name for name in paths if name.startswith("test_")))
    roots = (*tests, "run")
    texts = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    small, _ = firmware_names.give(private_names.share(shrink.shrink(texts, roots)), roots)
    for name, text in small.items():
        target = folder / paths[name].relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for name in BESIDE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    return list(tests)
