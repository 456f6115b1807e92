"""The MicroPython libraries of others: only what the lock file names gets in, and what is there is left alone."""

import hashlib
import io
import tarfile

import pytest

from host_tools.image import device_libraries as libraries

MODULE = b"answer = 42\n"


def _archive(module=MODULE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo("micropython-planted-1.0/planted/simple.py")
        member.size = len(module)
        archive.addfile(member, io.BytesIO(module))
    return file.getvalue()


def _library(archive, module=MODULE):
    return libraries.Library(
        name="micropython-planted",
        version="1.0",
        file="micropython-planted-1.0.tar.gz",
        sha256=hashlib.sha256(archive).hexdigest(),
        licence="MIT",
        modules={"planted/simple.py": hashlib.sha256(module).hexdigest()},
    )


def test_the_lock_file_names_umqtt():
    (umqtt,) = libraries.read_lock()
    assert umqtt.name == "micropython-umqtt.simple"
    assert umqtt.sha256 == "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
    assert list(umqtt.modules) == ["umqtt/simple.py"]


def test_a_library_is_installed_once(tmp_path, monkeypatch):
    archive = _archive()
    fetched = []
    monkeypatch.setattr(libraries, "fetch", lambda library: fetched.append(library) or archive)
    assert libraries.install(_library(archive), tmp_path) is True
    assert (tmp_path / "planted/simple.py").read_bytes() == MODULE
    assert libraries.install(_library(archive), tmp_path) is False
    assert len(fetched) == 1


def test_a_module_changed_by_hand_is_replaced(tmp_path, monkeypatch):
    archive = _archive()
    monkeypatch.setattr(libraries, "fetch", lambda library: archive)
    libraries.install(_library(archive), tmp_path)
    (tmp_path / "planted/simple.py").write_bytes(b"answer = 41\n")
    assert libraries.install(_library(archive), tmp_path) is True
    assert (tmp_path / "planted/simple.py").read_bytes() == MODULE


def test_another_archive_is_refused(tmp_path):
    with pytest.raises(libraries.DeviceLibraryError, match="sha256"):
        libraries.unpack(_library(_archive()), _archive(b"answer = 43\n"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_module_in_the_right_archive_is_refused(tmp_path):
    archive = _archive()
    with pytest.raises(libraries.DeviceLibraryError, match=r"planted/simple\.py"):
        libraries.unpack(_library(archive, b"another"), archive, tmp_path)
    assert not (tmp_path / "planted/simple.py").exists()


def test_without_a_network_the_error_says_so(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(libraries.DeviceLibraryError, match="network is needed once"):
        libraries.fetch(_library(b""))


@pytest.mark.parametrize("text", ["no section\n", "[x]\nversion = 1\n", "[x]\nmodules =\n  one_word\n"])
def test_a_broken_lock_file_is_named(tmp_path, text):
    (tmp_path / "broken.lock").write_text(text)
    with pytest.raises(libraries.DeviceLibraryError, match=r"broken\.lock"):
        libraries.read_lock(tmp_path / "broken.lock")
