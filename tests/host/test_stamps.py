"""Time stamps of checkpoints: when batches were signed, by somebody outside."""

import shutil
import subprocess
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from archive_campaign import by_audit, by_the_other
from archives import HubKey, load_audit
from crooked_log import with_stamps
from crooked_stamps import END_MS, MIDDLE_MS, crooked, honest
from host_tools import cli
from host_tools.hub.stores.store import connect
from host_tools.log import keys, stamps
from host_tools.log.signer import Signer
from stamp_authority import KEYS, MUTATIONS, Authority, mutated

audit = load_audit()
KEY = HubKey(3)
HUB = KEY.id.hex()
IMPRINT = sha256(b"a checkpoint").digest()


def told(archive, *named):
    """The verdict, on which both verifiers in Python agree."""
    said = by_audit(archive, [HUB, *named])
    assert said == by_the_other(archive, [HUB, *named])
    return said


@pytest.mark.parametrize("kind", KEYS)
def test_a_good_stamp_of_each_kind_of_key(kind):
    authority = Authority(kind)
    for taken in (authority.stamp(IMPRINT, MIDDLE_MS), authority.stamp(IMPRINT, MIDDLE_MS, b"\1\2\3")):
        said = audit.read_stamp(taken, IMPRINT)
        assert (said["gen_ms"], said["accuracy_ms"]) == (MIDDLE_MS // 1000 * 1000, 1000)
        assert [certificate.id for certificate in said["chain"]] == [authority.id, authority.root_id]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_mutation_is_refused_for_its_own_reason(kind, mutation):
    token, reason = mutated(kind, mutation, IMPRINT, MIDDLE_MS)
    with pytest.raises(audit.Malformed, match=f"^{reason}$"):
        audit.read_stamp(token, IMPRINT)


@pytest.mark.parametrize("kind", KEYS)
def test_openssl_takes_what_the_authority_of_these_tests_gives(kind, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    authority = Authority(kind)
    (tmp_path / "token").write_bytes(authority.stamp(IMPRINT, MIDDLE_MS))
    (tmp_path / "data").write_bytes(b"a checkpoint")
    words = ["openssl", "x509", "-inform", "DER", "-out", str(tmp_path / "root")]
    subprocess.run(words, input=authority.root, check=True)
    words = ["openssl", "ts", "-verify", "-in", "token", "-token_in", "-data", "data", "-CAfile", "root"]
    done = subprocess.run([*words, "-attime", str(MIDDLE_MS // 1000)], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_every_batch_was_signed_after_one_stamp_and_before_the_next():
    authority = Authority("P-384")
    archive = with_stamps(KEY, (honest(authority, MIDDLE_MS), honest(authority, END_MS)))
    said = told(archive, authority.root_id)
    assert said["overall"] == "success" and said["reasons"] == []
    middle, end = (ms // 1000 * 1000 for ms in (MIDDLE_MS, END_MS))
    (signed,) = said["time"]["signed"]
    assert signed["runs"] == [[0, 2, None, middle + 1000], [3, 5, middle - 1000, end + 1000]]
    assert signed["late"] == [] and all(stamp["named"] for stamp in said["time"]["stamps"])
    when, *_ = audit.time_lines(said)
    assert when == "3 of 6 batches were signed between two time stamps, by stamps.example"


def test_an_authority_that_nobody_named_is_called_so():
    authority, other = Authority("P-256"), Authority("P-384")
    archive = with_stamps(KEY, (honest(authority, MIDDLE_MS), honest(other, END_MS)))
    said = told(archive)
    assert "that you have not named" in next(audit.time_lines(said))
    said = told(archive, other.id)  # only that one counts
    assert [run[2:] for run in said["time"]["signed"][0]["runs"]] == [[None, END_MS // 1000 * 1000 + 1000]]


def test_without_stamps_the_line_says_so():
    said = told(with_stamps(KEY, (None, None)))
    assert said["overall"] == "success"
    assert next(audit.time_lines(said)).startswith("no outer time")
    assert {"check": "time stamps", "why": "the archive carries none"} in said["checks"]["skipped"]


def test_a_good_stamp_whose_certificate_has_ended_stays_good():
    import datetime

    authority = Authority("P-256", end=datetime.datetime.fromtimestamp(END_MS // 1000 + 60, datetime.timezone.utc))
    said = told(with_stamps(KEY, (honest(authority, MIDDLE_MS), honest(authority, END_MS))), authority.id)
    assert said["overall"] == "success" and len(said["time"]["stamps"]) == 2


def test_a_back_dated_chain_is_named_and_not_refused():
    """Six weeks without a network look the same: what was dated then was first proved when it came."""
    authority, late_ms = Authority("P-256"), 45 * 86_400_000
    stamps_of = honest(authority, MIDDLE_MS + late_ms), honest(authority, END_MS + late_ms)
    said = told(with_stamps(KEY, stamps_of), authority.id)
    assert said["overall"] == "success"
    assert [(first, last) for first, last, _, _ in said["time"]["signed"][0]["late"]] == [(0, 2), (3, 5)]
    assert any("first proved on" in line for line in audit.time_lines(said))


def test_a_refused_stamp_bounds_nothing():
    authority = Authority("P-256")
    archive = with_stamps(KEY, (crooked("P-256", "signed by another key", MIDDLE_MS), honest(authority, END_MS)))
    said = told(archive, authority.id)
    assert [reason["reason"] for reason in said["reasons"]] == ["stamp_signature"]
    assert [run[2:] for run in said["time"]["signed"][0]["runs"]] == [[None, END_MS // 1000 * 1000 + 1000]]


def test_flipped_bits_of_a_token_end_in_a_reason():
    import random

    rng, token = random.Random(1), Authority("RSA 2048").stamp(IMPRINT, MIDDLE_MS)
    for _ in range(300):
        at = rng.randrange(len(token))
        flipped = token[:at] + bytes([token[at] ^ 1 << rng.randrange(8)]) + token[at + 1 :]
        try:
            assert audit.read_stamp(flipped, IMPRINT)["gen_ms"] == MIDDLE_MS // 1000 * 1000  # what nobody signs
        except (audit.Malformed, ValueError, IndexError):
            continue


# At the hub.


@pytest.fixture
def served():
    """An authority on this computer: its address, and what it does with a question."""
    authority = Authority("P-256")
    how = {"answer": lambda question: authority.answer(question, MIDDLE_MS)}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = how["answer"](self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tsa", how, authority
    server.shutdown()
    server.server_close()


def sign(rig):
    signer = Signer(rig.intake.leaves)
    signer.sign(rig.now_unix_ms)
    signer.close()


def test_the_verb_stamps_and_the_archive_carries_it(rig, gateway, served, tmp_path, capsys):
    url, _, authority = served
    rig.batches(gateway, gateway.batch())
    rig.beat(gateway, buffered=0)
    sign(rig)
    assert cli.main(["log", "stamp", "--data", str(rig.data_dir), "--authority", url]) == 0
    sign(rig)
    assert cli.main(["log", "check", "--data", str(rig.data_dir)]) == 0
    assert cli.main(["archive", "--data", str(rig.data_dir), "--out", str(tmp_path / "a.zip")]) == 0
    data = (tmp_path / "a.zip").read_bytes()
    said = by_audit(data, [keys.read(rig.data_dir).id.hex(), authority.id])
    assert said == by_the_other(data, [keys.read(rig.data_dir).id.hex(), authority.id])
    (stamp,) = said["time"]["stamps"]
    assert stamp["named"] and stamp["authority"] == "127.0.0.1"
    assert said["time"]["signed"][0]["runs"] == [[0, 0, None, MIDDLE_MS // 1000 * 1000 + 1000]]
    assert not stamps.is_due(rig.store.db)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda question: b"", "not a time stamp"),
        (lambda question: b"<html>", "not a time stamp"),
        (lambda question: bytes.fromhex("30053003020102"), "status 2"),
        (lambda question: b"\x30\x82\x00\x10" + bytes(16), "not a time stamp"),
        (lambda question: bytes(20_000), "longer than"),
        (lambda question: Authority().answer(stamps.request(bytes(32), b"\1" * 16), MIDDLE_MS), "not of what it was"),
    ],
)
def test_an_authority_that_gives_no_stamp(rig, gateway, served, capsys, answer, words):
    url, how, _ = served
    how["answer"] = answer
    sign(rig)
    before = rig.rows("SELECT count(*) FROM leaf")
    assert cli.main(["log", "stamp", "--data", str(rig.data_dir), "--authority", url]) == 2
    assert words in capsys.readouterr().err
    assert rig.rows("SELECT count(*) FROM leaf") == before and stamps.is_due(rig.store.db)


def test_an_address_that_is_none(rig, capsys):
    for url in ("stamps.example", "ftp://stamps.example", "http://"):
        assert cli.main(["log", "stamp", "--data", str(rig.data_dir), "--authority", url]) == 2
        assert "is not the address" in capsys.readouterr().err


def test_nobody_answers(rig, capsys):
    sign(rig)
    assert cli.main(["log", "stamp", "--data", str(rig.data_dir), "--authority", "http://127.0.0.1:1/"]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err


def test_the_hub_waits_for_no_authority(rig, gateway):
    """The thread holds no lock while it asks, and a fault of the database ends nothing."""
    asked, told_to_go_on = threading.Event(), threading.Event()

    def ask(url, digest):
        asked.set()
        assert told_to_go_on.wait(60)
        return Authority().stamp(digest, MIDDLE_MS)

    sign(rig)
    db = connect(rig.data_dir)
    from host_tools.log.record import open_recorder

    recorder = open_recorder(db)
    thread = threading.Thread(target=stamps.stamp, args=(db, recorder, "http://x/", None, ask))
    thread.start()
    assert asked.wait(60)
    assert rig.batches(gateway, gateway.batch())[0].receipt  # while the authority thinks
    told_to_go_on.set()
    thread.join()
    db.close()
    assert not stamps.is_due(rig.store.db)
    sign(rig)
    rows = rig.rows("SELECT leaf FROM leaf ORDER BY leaf")
    assert [row[0] for row in rows] == list(range(len(rows)))
