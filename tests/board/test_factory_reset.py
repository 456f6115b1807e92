"""On an emulated plain Pico: after a factory reset no byte of a secret, nor of the journal before, is anywhere in the
flash chip. PICO_IMAGE and PARKGATE_PICO_IMAGE: as for test_flash_tool.py."""

import json

import pytest

from host_tools.gateway.link import PATIENCE, Link
from host_tools.image import boards, flash_image
from parkgate.console.access import Access
from tests.board.emulated_pico import EmulatedPico
from tests.board.flash_image import FLASH_BYTES, firmware_bytes, missing_for
from tests.board.test_prompt import _image

MISSING = missing_for("pico")
pytestmark = [pytest.mark.skipif(bool(MISSING), reason=MISSING), pytest.mark.timeout(1800)]

CANARY = "Zq9canary7-of-the-chip"
CODE = "richtig-1"
PICO = boards.load("pico")
JOURNAL = PICO.data["layout"]["storage"][0] + PICO.data["own_build"]["file_system_bytes"]  # on an image of our own
START_S = 240
ERASE_S = 900


@pytest.mark.parametrize("image", ["stock", "own"])
def test_nothing_secret_is_left_in_the_chip(image, tmp_path, monkeypatch):
    monkeypatch.setenv(PATIENCE, "10")
    records = []
    Access(None, records.append).set_code(CODE, bytes(range(16)))
    data = tmp_path / "data"
    data.mkdir()
    (data / "access.code").write_bytes(records[-1])
    (data / "settings.json").write_text(json.dumps({"gateway": {"name": "hall-3"}, "broker": {"password": CANARY}}))
    plan = flash_image.plan(PICO, _image(image), data)
    uf2 = tmp_path / "parkgate.uf2"
    uf2.write_bytes(plan.outputs["parkgate-pico.uf2"])
    flash = tmp_path / "flash.bin"
    flash.write_bytes(firmware_bytes(uf2).ljust(FLASH_BYTES, b"\xff"))
    with EmulatedPico(flash=flash, pace=0) as pico:
        pico.console.read_until(b"status {", START_S)
        with Link(f"socket://127.0.0.1:{pico.ports['console']}", 60) as link:
            link.unlock(CODE)
            for number in range(3):  # as a technician does who mistypes
                link.ask(f"settings set broker.password {CANARY}-{number}", 60)
            identity = link.facts("identity")
            key = bytes.fromhex(identity["public_key"])
            noted = bytes.fromhex(identity["settings_id"])  # in the journal's first records
            epoch = bytes.fromhex(link.facts("journal status")["epoch"])
            before = flash.read_bytes()
            assert before.count(CANARY.encode()) >= 3 and records[-1][20:52] in before and key.hex().encode() in before
            journal = before[JOURNAL:] if image == "own" else before  # a raw region, or files somewhere
            assert noted in journal and epoch in journal
            link.ask("factory reset ERASE", 60, repeat=False)
        pico.wait_for_event("reset", ERASE_S)
        pico.console.read_until(b"made a new key", START_S)
        assert b"Traceback" not in pico.console.read_until(b"status {", START_S)
        stats = pico.stats()
    after = flash.read_bytes()
    secrets = {"canary": CANARY.encode(), "code": records[-1][20:52], "key": key.hex().encode()}
    secrets.update(noted=noted, epoch=epoch, name=b"hall-3")
    assert [name for name, secret in secrets.items() if secret in after] == []
    print(
        f"{image}: {before.count(CANARY.encode())} canaries, {journal.count(noted) + journal.count(epoch)} of the "
        f"journal before, 0 after, {stats['flash']['erases']} erases"
    )
