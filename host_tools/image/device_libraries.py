"""Fetch the MicroPython libraries that the device runs and this repository does not contain.

`lib/third_party.lock` names each with its version, archive, sha256, licence and modules. Their archives are
of an old form that pip refuses, hence the few lines here. Modules that are present with the right hash are
left alone, so a second run needs no network.
"""

import argparse
import configparser
import hashlib
import io
import os
import ssl
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from host_tools.base import files, output
from host_tools.base.paths import SOURCES, build_folder
from parkgate.errors import ParkgateError

if TYPE_CHECKING:
    from pypi_simple import PyPISimple

LOCK = SOURCES / "lib" / "third_party.lock"
FOLDER = build_folder() / "device_lib"

_ARCHIVE_BYTES_MAX = 1024 * 1024
_NETWORK_TIMEOUT_S = 30


class DeviceLibraryError(ParkgateError):
    """A library cannot be fetched, or is not the one that the lock file names."""


class Library(NamedTuple):
    """One section of the lock file; `modules` maps a path inside the archive to the sha256 of that file."""

    name: str
    version: str
    file: str
    sha256: str
    licence: str
    modules: dict[str, str]


def read_lock(path: Path = LOCK) -> list[Library]:
    """Give the libraries that the lock file names. Raises DeviceLibraryError if it cannot be understood."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(files.read_text(path), str(path))
        return [_library(parser[name]) for name in parser.sections()]
    except (configparser.Error, KeyError, IndexError) as error:
        raise DeviceLibraryError(f"{path} cannot be read: {error}") from error


def _library(section: configparser.SectionProxy) -> Library:
    lines = [(line.split()[0], line.split()[1]) for line in section["modules"].split("\n") if line]
    return Library(
        name=section.name,
        version=section["version"],
        file=section["file"],
        sha256=section["sha256"],
        licence=section["licence"],
        modules=dict(lines),
    )


def install(library: Library, folder: Path) -> bool:
    """Bring the library's modules into `folder`; give False if all were there already."""
    if all(_has(folder / module, sha256) for module, sha256 in library.modules.items()):
        return False
    unpack(library, fetch(library), folder)
    return True


def install_all(folder: Path = FOLDER) -> list[Library]:
    """Bring every library into `folder`; those that were missing there. Raises DeviceLibraryError."""
    return [library for library in read_lock() if install(library, folder)]


def _has(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def fetch(library: Library) -> bytes:
    """Download the library's archive from the package registry (PIP_INDEX_URL names another, as for pip)."""
    # Imported here: both take a while, and most runs find everything in place.
    import requests
    from pypi_simple import PYPI_SIMPLE_ENDPOINT, NoSuchProjectError, PyPISimple

    try:
        with PyPISimple(os.environ.get("PIP_INDEX_URL") or PYPI_SIMPLE_ENDPOINT) as registry:
            try:
                return _fetch(library, registry)
            except requests.exceptions.SSLError:
                # Behind a company's proxy only the system's own store of certificates has the right one.
                store = ssl.get_default_verify_paths()
                registry.s.verify = store.cafile or store.capath or True
                return _fetch(library, registry)
    except (requests.RequestException, NoSuchProjectError, OSError) as error:
        raise DeviceLibraryError(
            f"{library.name} {library.version} cannot be fetched ({_reason(error)}). "
            f"The network is needed once: later runs use {FOLDER}"
        ) from error


def _fetch(library: Library, registry: "PyPISimple") -> bytes:
    page = registry.get_project_page(library.name, timeout=_NETWORK_TIMEOUT_S)
    urls = [package.url for package in page.packages if package.filename == library.file]
    if not urls:
        raise DeviceLibraryError(f"the package registry no longer has {library.file}")
    archive = bytearray()
    with registry.s.get(urls[0], timeout=_NETWORK_TIMEOUT_S, stream=True) as reply:
        reply.raise_for_status()
        for chunk in reply.iter_content(65536):
            archive += chunk
            if len(archive) > _ARCHIVE_BYTES_MAX:
                raise DeviceLibraryError(f"{library.file} is larger than {_ARCHIVE_BYTES_MAX} bytes")
    return bytes(archive)


def _reason(error: BaseException) -> str:
    # The text of a connection error is a paragraph of nested objects; its class says as much.
    text = str(error)
    return text if len(text) <= 100 else type(error).__name__


def unpack(library: Library, archive: bytes, folder: Path) -> None:
    """Check the archive, then write the library's modules to `folder`, each as a whole or not at all."""
    got = hashlib.sha256(archive).hexdigest()
    if got != library.sha256:
        raise DeviceLibraryError(f"{library.file} has sha256 {got}, the lock file wants {library.sha256}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for module, sha256 in library.modules.items():
            member = packed.extractfile(f"{library.name}-{library.version}/{module}")
            content = member.read() if member is not None else b""
            if hashlib.sha256(content).hexdigest() != sha256:
                raise DeviceLibraryError(f"{module} in {library.file} is not the one that the lock file names")
            target = folder / module
            files.make_folder(target.parent)
            files.write(target, content)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("libraries", help="fetch the MicroPython libraries of others that the device runs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where to (default: {FOLDER})")
    output.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    new = install_all(args.folder)
    installed = [{"name": one.name, "version": one.version, "licence": one.licence} for one in new]
    lines = [f"installed {one.name} {one.version} ({one.licence}) in {args.folder}" for one in new]
    output.show(args, {"folder": str(args.folder), "installed": installed}, lines)
    return 0
