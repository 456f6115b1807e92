"""Keys on the host and the verb `enrol`."""

import contextlib
import os
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import serialization

from batches import FakeGateway
from host_tools.base import keys
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import enrol
from parkgate.errors import FormatError, SettingsError
from parkgate.wire import cose


def test_the_hub_key_is_made_once_and_private(tmp_path):
    first, second = keys.hub_key(tmp_path), keys.hub_key(tmp_path)
    assert first.xy == second.xy and first.id == cose.thumbprint(first.xy)
    assert (tmp_path / keys.HUB_KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / keys.HUB_PUBLIC_FILE).read_text() == first.xy.hex() + "\n"
    assert sorted(os.listdir(tmp_path)) == [keys.HUB_KEY_FILE, keys.HUB_PUBLIC_FILE]


def test_a_hub_key_that_others_may_read_is_refused(tmp_path):
    keys.hub_key(tmp_path)
    (tmp_path / keys.HUB_KEY_FILE).chmod(0o644)
    with pytest.raises(FormatError, match="chmod 600"):
        keys.hub_key(tmp_path)


def test_a_damaged_hub_key_is_refused_and_not_replaced(tmp_path):
    keys.hub_key(tmp_path)
    (tmp_path / keys.HUB_KEY_FILE).write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="not a readable private key"):
        keys.hub_key(tmp_path)
    assert (tmp_path / keys.HUB_KEY_FILE).read_bytes() == b"nonsense"


def test_public_keys_in_every_form(tmp_path):
    gateway = FakeGateway(1)
    pem = gateway.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    cose_key = cose.encode_key(gateway.xy)
    for form in (gateway.xy, gateway.xy.hex(), gateway.xy.hex().upper() + "\n", cose_key, cose_key.hex(), pem):
        assert keys.parse_public(form) == gateway.xy
    file = tmp_path / "gateway.key"
    file.write_text(gateway.xy.hex() + "\n")
    assert keys.read_public(str(file)) == keys.read_public(gateway.xy.hex()) == gateway.xy


def test_what_is_no_public_key_is_refused(tmp_path):
    gateway = FakeGateway(1)
    off_curve = bytearray(gateway.xy)
    off_curve[-1] ^= 1
    private = gateway.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for bad in (b"", b"hello", bytes(off_curve), bytes(64), b"\xff" * 64, "ab" * 32, b"-----BEGIN PUBLIC KEY-----\nx"):
        with pytest.raises(FormatError):
            keys.parse_public(bad)
    with pytest.raises(FormatError, match="private key"):
        keys.parse_public(private)
    with pytest.raises(FormatError, match="neither a file"):
        keys.read_public(str(tmp_path / "missing"))
    with pytest.raises(FormatError):
        keys.read_public("x" * 5000)


def test_both_sides_derive_the_same_receipt_key(tmp_path):
    gateway, hub = FakeGateway(1), keys.hub_key(tmp_path)
    assert hub.receipt_key(gateway.xy) == gateway.receipt_key(hub.xy)


def run(tmp_path, *words):
    """`parkgate enrol` with these words."""
    from host_tools import cli
    from host_tools.hub.stores.store import connect

    keys.hub_key(tmp_path)
    connect(tmp_path).close()
    return cli.main(["enrol", "--data", str(tmp_path), *words])


def test_enrol_list_revoke_restore(tmp_path, capsys):
    gateway = FakeGateway(1)
    assert run(tmp_path, gateway.xy.hex(), "--name", "workshop") == 0
    assert gateway.id.hex() in capsys.readouterr().out
    assert run(tmp_path, "--list") == 0
    assert capsys.readouterr().out.split() == ["workshop", gateway.id.hex()]
    assert run(tmp_path, "--revoke", "workshop") == 0
    run(tmp_path, "--list")
    assert capsys.readouterr().out.endswith("revoked\n")
    assert run(tmp_path, "--restore", gateway.id.hex()[:10]) == 0
    assert run(tmp_path, gateway.xy.hex(), "--name", "hall 2") == 0
    capsys.readouterr()
    run(tmp_path, "--list")
    assert capsys.readouterr().out.split()[0] == "hall", "enrolling again renames"


def test_enrol_says_what_is_wrong(tmp_path, capsys):
    one, two = FakeGateway(1), FakeGateway(2)
    assert run(tmp_path, one.xy.hex(), "--name", "workshop") == 0
    for words, told in (
        ([two.xy.hex(), "--name", "workshop"], "has the name"),
        ([two.xy.hex(), "--name", " "], "printable"),
        ([two.xy.hex(), "--name", "a\nb"], "printable"),
        (["nothing.key"], "neither a file"),
        (["--revoke", "nobody"], "no gateway"),
        ([], "name a public key"),
    ):
        assert run(tmp_path, *words) == 2
        error = capsys.readouterr().err
        assert told in error and "Traceback" not in error


def test_a_name_is_free_text_elsewhere_it_is_data(tmp_path):
    gateway = FakeGateway(1)
    name = "<b>'; DROP TABLE gateway; --"
    with contextlib.closing(connect(tmp_path)) as db:
        enrol.enrol(db, gateway.xy, name)
        assert enrol.find(db, name)[2] == name
        with pytest.raises(SettingsError):
            enrol.find(db, "%")
    args = SimpleNamespace(
        data=str(tmp_path), list=True, key=None, revoke=None, restore=None, clear_alarms=None, name=None
    )
    assert enrol.run(args) == 0
