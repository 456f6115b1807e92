"""Build step of the wheel: the sources that a board runs become data of the package host_tools.

`parkgate flash`, `demo`, `provision` and `simulate` compile lib, firmware and boards for a board. A checkout has them
beside host_tools; a wheel has them in host_tools/device. Everything else about the package stands in pyproject.toml.
"""

from pathlib import Path
from shutil import rmtree

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
DEVICE_SOURCES = ("lib", "firmware", "boards")
NO_SOURCES = ("__pycache__", ".pyc", ".egg-info")


class BuildWithDeviceSources(build_py):
    """Copies the device's sources too, but for an editable install, which runs the checkout itself."""

    def run(self):
        if self.editable_mode:
            super().run()
            return
        rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left there would go into this wheel
        super().run()
        for path in (path for top in DEVICE_SOURCES for path in sorted((ROOT / top).rglob("*"))):
            relative = path.relative_to(ROOT)
            if path.is_file() and not any(part.endswith(NO_SOURCES) for part in relative.parts):
                target = Path(self.build_lib, "host_tools", "device", relative)
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))


setup(cmdclass={"build_py": BuildWithDeviceSources})
