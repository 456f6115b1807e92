"""Every call of every verb that can fail, made to fail: one sentence, the right exit code, and a whole state.

A verb may also do without what failed (a cache, a lock's number): then it ends well, and all is as after a run in which
nothing failed.
"""

import json
import re
import shutil
import time

import pytest

from console_gateway import Gateway, Port
from failing_calls import each_failure, run
from host_tools.base.paths import METER_PROFILES
from host_tools.gateway import link
from host_tools.hub.people import operators
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs import enrol
from parkgate.wire import cose

SETTINGS = {
    "sealing": {"period_s": 2},
    "buses": [{"name": "rs485", "device": "/dev/x"}],
    "instruments": [{"name": "press", "profile": "pzem-004t", "bus": "rs485", "unit_id": 2}],
}
COUNTS: dict[str, int] = {}


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    """Nothing waits for its time here, and nothing of this user is touched."""
    monkeypatch.setattr(link.time, "sleep", lambda _s: None)
    monkeypatch.setattr(link, "RESTART_REPLY_TIMEOUT_S", 0.01)
    monkeypatch.setattr(link, "REPLY_TIMEOUT_S", 0.02)
    monkeypatch.setenv("PARKGATE_PATIENCE", "0.01")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PARKGATE_CODE", raising=False)
    yield


def check(name, result, error, number):
    """What holds whatever failed."""
    COUNTS[name] = COUNTS.get(name, 0) + 1
    what = f"{name}: call {number} ({result.failed}) failed with {error!r}: {result.exit_code} {result.err!r}"
    assert "Traceback" not in result.err, what
    sentences = [line for line in result.err.splitlines() if line.startswith("parkgate ")]
    if isinstance(error, KeyboardInterrupt):
        assert result.exit_code in (130, 0), what
        assert len(sentences) <= 1, what
    elif result.exit_code == 2 and not isinstance(error, BrokenPipeError):
        assert len(sentences) == 1, what
        assert re.search(r"[a-z]{3}", sentences[0].partition(": ")[2]), what
        assert "Errno" not in result.err and "Error(" not in result.err, what
    elif result.exit_code not in (0, 2):
        assert name in ("doctor", "meters check") and result.exit_code == 1, what
    return what


def no_drafts(folder):
    return not [path for path in folder.rglob("*") if path.name.endswith(".new")]


# Verbs that write one file, or only show.


@pytest.fixture
def hub(tmp_path):
    """A hub that has run: two gateways, an operator."""
    folder = tmp_path / "hub-before"
    folder.mkdir()
    from host_tools.base.keys import hub_key

    database = connect(folder)
    for number in (1, 2):
        enrol.enrol(database, Gateway().signer.public_key, f"hall-{number}")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    hub_key(folder)
    operators.add(folder, "anna")
    return folder


SIMPLE = {
    "boards": ["boards"],
    "boards NAME": ["boards", "pico"],
    "boards --json": ["boards", "--json"],
    "boards --page": ["boards", "--page", "{out}"],
    "boards --module": ["boards", "pico", "--module", "{out}"],
    "meters list": ["meters", "list"],
    "meters show": ["meters", "show", "pzem-004t"],
    "meters check": ["meters", "check", METER_PROFILES / "pzem-004t.json"],
    "settings check": ["settings", "check", "{settings}"],
    "settings help": ["settings", "help"],
    "settings docs": ["settings", "docs", "{out}"],
    "enrol --list": ["enrol", "--data", "{hub}", "--list"],
    "enrol --revoke": ["enrol", "--data", "{hub}", "--revoke", "hall-1"],
    "enrol KEY": ["enrol", "--data", "{hub}", "{key}", "--name", "hall-9"],
    "operator": ["operator", "--data", "{hub}"],
    "operator NAME": ["operator", "--data", "{hub}", "bert"],
    "operator --remove": ["operator", "--data", "{hub}", "--remove", "anna"],
    "hub --status": ["hub", "--data", "{hub}", "--status"],
    "export --list": ["export", "--data", "{hub}", "--list"],
    "export csv --out": ["export", "--data", "{hub}", "--format", "csv", "--out", "{out}"],
    "export csv": ["export", "--data", "{hub}", "--format", "senml-json", "--out", "{out}"],
    "libraries": ["libraries"],
    "settings show": ["settings", "show", "--port", "x"],
    "settings pull": ["settings", "pull", "{out}", "--port", "x"],
    "settings diff": ["settings", "diff", "{settings}", "--port", "x"],
    "console": ["console", "--port", "x", "identity"],
}


@pytest.mark.parametrize("name", SIMPLE)
def test_one_file_or_none(name, tmp_path, hub):
    out, settings, key = tmp_path / "out.toml", tmp_path / "settings.json", tmp_path / "gateway.key"
    settings.write_text(json.dumps(SETTINGS))
    key.write_text(Gateway().signer.public_key.hex())
    places = {"out": out, "settings": settings, "hub": tmp_path / "hub", "key": key}
    words = [str(word).format(**places) for word in SIMPLE[name]]
    gateway = Gateway()

    def begin():
        out.write_text("as before\n")
        shutil.rmtree(tmp_path / "hub", ignore_errors=True)
        shutil.copytree(hub, tmp_path / "hub")

    def port(on_call):
        return Port(gateway, on_call)

    begin()
    expected = run(words, port)
    code, new = expected.exit_code, out.read_bytes()
    assert code == (1 if name == "hub --status" else 0), expected
    after = _hub_state(tmp_path / "hub")
    begin()
    before = _hub_state(tmp_path / "hub")
    token_before = (tmp_path / "hub" / "operators.json").read_bytes()
    for number, result, error in each_failure(words, port, begin):
        if name == "hub --status" and result.exit_code == 1:
            result = result._replace(exit_code=0)
        what = check(name, result, error, number)
        assert out.read_bytes() in (b"as before\n", new), what
        assert no_drafts(tmp_path), what
        state = _hub_state(tmp_path / "hub")
        assert state in (before, after), what
        if result.exit_code == 0:
            assert state == after and out.read_bytes() == new, what
        if name == "operator NAME":
            _token_was_seen(tmp_path / "hub", token_before, result, what)
    begin()
    again = run(words, port)
    assert again.exit_code == code


def _token_was_seen(folder, before, result, what):
    """No operator has a token that was not on the screen."""
    now = (folder / "operators.json").read_bytes()
    if now != before:
        token = next(line for line in result.out.splitlines() if line.startswith(operators.PREFIX))
        assert operators.who(folder, token).name == "bert", what


def _hub_state(folder):
    database = connect(folder)
    rows = database.execute("SELECT kid, name, revoked_unix_ms IS NULL FROM gateway ORDER BY name").fetchall()
    database.close()
    return rows, sorted(operators.load(folder))


# Provision: whatever fails, the same command carries on, and nothing is lost.


def read_profile(name):
    path = METER_PROFILES / f"{name}.json"
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize("way", ["with a label", "pull the key"])
def test_provision_carries_on_after_every_failure(way, tmp_path, hub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    settings, label, key = tmp_path / "settings.json", tmp_path / "label.svg", tmp_path / "gateway.pub"
    settings.write_text(json.dumps(SETTINGS))
    folder = tmp_path / "hub"
    words = ["provision", "--port", "x", "--hub", folder, "--settings", settings, "--name", "hall-3"]
    words += ["--label", label, "--place", "gate B"] if way == "with a label" else ["--public-key", key]
    there: dict = {}

    def begin():
        label.unlink(missing_ok=True)
        key.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(hub, folder)
        there["gateway"] = Gateway(read_profile)

    def port(on_call):
        return Port(there["gateway"], on_call)

    begin()
    whole = run(words, port)
    assert whole.exit_code == 0, whole
    _is_provisioned(there["gateway"], folder, [whole], label if way == "with a label" else None)
    for number, result, error in each_failure(words, port, begin):
        what = check("provision", result, error, number)
        gateway = there["gateway"]
        assert no_drafts(tmp_path), what
        names = {row[0]: row[1] for row in _gateways(folder)}
        if "hall-3" in names.values():
            assert names.get(gateway.gateway_id) == "hall-3", f"a ghost at the hub: {what}"
        _code_was_seen(gateway, [result], what)
        second = _again(words, port, gateway, result)
        _is_provisioned(gateway, folder, [result, second], label if way == "with a label" else None, what)


def _again(words, port, gateway, first):
    """The same command once more, with the code that was shown where one is in force."""
    code = gateway.access.has_code and _codes(first)[-1:]
    second = run([*words, *(["--code", code[0]] if code else [])], port)
    assert second.exit_code == 0, (first.failed, first.calls[-3:], len(first.calls), first.err, second.err)
    return second


def _codes(result):
    return re.findall(r"shown only now: (\w+)", result.out)


def _code_was_seen(gateway, results, what=""):
    """A board that is locked is locked with a code that stood on the screen."""
    if gateway.access.has_code:
        codes = [code for result in results for code in _codes(result)]
        gateway.access.lock()
        assert codes and gateway.access.unlock(codes[-1], 1 << 40), f"locked, and nobody saw its code: {what}"


def _gateways(folder):
    database = connect(folder)
    rows = database.execute("SELECT kid, name FROM gateway ORDER BY name").fetchall()
    database.close()
    return rows


def _is_provisioned(gateway, folder, results, label, what=""):
    assert sorted(name for _, name in _gateways(folder)) == ["hall-1", "hall-2", "hall-3"], what
    assert (gateway.gateway_id, "hall-3") in _gateways(folder), what
    assert gateway.settings["gateway"]["name"] == "hall-3" and gateway.settings["sealing"]["period_s"] == 2, what
    assert gateway.settings["hub"]["public_key"] and gateway.access.has_code, what
    _code_was_seen(gateway, results, what)
    if label:
        assert gateway.topic_id in label.read_text() and "gate B" in label.read_text(), what
    assert cose.thumbprint(gateway.signer.public_key) == gateway.gateway_id


REFUSED = {
    "a name of 40 characters": (["--name", "x" * 40], "40 characters"),
    "a name that is taken": (["--name", "hall-1"], "another gateway"),
    "a name with a line break": (["--name", "a\nb"], "not possible"),
    "a label in a missing folder": (["--label", "{tmp}/none/label.svg"], "does not exist"),
    "a label that is a folder": (["--label", "{tmp}/dir.svg"], "it is a folder"),
    "a label of no kind": (["--label", "{tmp}/label.doc"], ".svg or"),
    "letters that a PDF has not": (["--label", "{tmp}/label.pdf", "--place", "ห้อง 3"], "take FILE.svg"),
    "a key file in a missing folder": (["--public-key", "{tmp}/none/key"], "does not exist"),
    "a code file that is a folder": (["--code-file", "{tmp}"], "it is a folder"),
    "a device with a space": (["--settings", "{tmp}/space.json"], "must not have spaces"),
    "a profile that is not there": (["--settings", "{tmp}/profile.json"], "profile"),
    "settings that are a folder": (["--settings", "{tmp}"], "it is a folder"),
    "no certificate": (["--broker-ca", "{tmp}/space.json"], "holds no certificate"),
    "no broker": (["--broker", "ftp://x"], "is not mqtt"),
    "another hub": (["--hub-key", "{other}"], "another public key"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_provision_checks_everything_before_it_changes_anything(fault, tmp_path, hub):
    more, said = REFUSED[fault]
    (tmp_path / "dir.svg").mkdir()
    bad = {**SETTINGS, "buses": [{"name": "rs485", "device": "/dev/tty x"}]}
    (tmp_path / "space.json").write_text(json.dumps(bad))
    bad = {**SETTINGS, "instruments": [{**SETTINGS["instruments"][0], "profile": "no-such-meter"}]}
    (tmp_path / "profile.json").write_text(json.dumps(bad))
    gateway = Gateway(read_profile)
    before, rows = dict(gateway.files.kept), _gateways(hub)
    words = [word.format(tmp=tmp_path, other=Gateway().signer.public_key.hex()) for word in more]
    result = run(
        ["provision", "--port", "x", "--hub", hub, *(["--name", "hall-3"] if "--name" not in words else []), *words],
        lambda on_call: Port(gateway, on_call),
    )
    assert result.exit_code == 2 and said in result.err, result
    assert result.err.count("\n") == 1, result.err
    kept = {name: data for name, data in gateway.files.kept.items() if data}  # what was staged is empty again
    assert kept == before, "the gateway is as it was"
    assert _gateways(hub) == rows, "the hub is as it was"
    assert not (tmp_path / "label.pdf").exists()


def test_a_code_is_shown_again_until_it_is_confirmed(tmp_path, hub):
    gateway = Gateway(read_profile)
    words = ["provision", "--port", "x", "--hub", hub, "--name", "hall-3"]

    def port(on_call):
        return Port(gateway, on_call)

    last = run(words, port)
    gateway.files.remove("access.code")
    gateway.restart()
    keep = last.calls.count("serial write")
    assert keep
    # The cable goes just before `code keep`: the code was shown, and locks nobody out.
    writes = [i for i, kind in enumerate(run(words, lambda c: Port(Gateway(read_profile), c)).calls, 1)
              if kind == "serial write"]  # fmt: skip
    assert writes
    gateway.access.set_code("seen-by-nobody", bytes(16), True)
    assert gateway.access.open(0) and "on trial" in run(["console", "--port", "x", "identity"], port).out
    again = run(["provision", "--again", "--port", "x", "--label", tmp_path / "l.svg"], port)
    assert again.exit_code == 0 and gateway.access.has_code
    _code_was_seen(gateway, [again])
    assert (tmp_path / "l.svg").is_file()


def test_the_first_use_confirms_a_code_on_trial():
    gateway = Gateway()
    gateway.access.set_code("somebody-knows", bytes(16), True)
    result = run(["console", "--port", "x", "--code", "somebody-knows", "identity"], lambda c: Port(gateway, c))
    assert result.exit_code == 0 and gateway.access.has_code and not gateway.access.on_trial


def test_push_carries_on_after_every_failure(tmp_path):
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps(SETTINGS))
    there: dict = {}

    def begin():
        there["gateway"] = Gateway(read_profile)

    def port(on_call):
        return Port(there["gateway"], on_call)

    words = ["settings", "push", settings, "--port", "x"]
    for number, result, error in each_failure(words, port, begin):
        what = check("settings push", result, error, number)
        assert there["gateway"].settings["sealing"]["period_s"] in (2, 60), what
        second = run(words, port)
        assert second.exit_code == 0 and there["gateway"].settings["sealing"]["period_s"] == 2, what


def test_doctor_ends_with_words_whatever_fails():
    gateway = Gateway()
    for number, result, error in each_failure(["doctor", "--port", "x"], lambda c: Port(gateway, c)):
        what = check("doctor", result, error, number)
        assert "nothing is wrong" not in result.out, what


def test_how_many_failures_were_tried():
    """The table of the report: it runs last, and prints what the others counted."""
    for name, count in sorted(COUNTS.items()):
        print(f"{name:24} {count}")
    assert not COUNTS or sum(COUNTS.values()) > 0
