"""Two archives of one hub, compared by audit.py: what contradicts convicts, and what agrees is never called wrong."""

import io
import json
import random
import zipfile

import pytest

from archives import HubKey, Parts, Plant, digest, load_audit
from crooked_log import Log
from parkgate.log import evidence
from parkgate.log.tree import leaf_hash
from test_vectors_spec import SPEC

audit = load_audit()


def archive(entries, first, parts=None, **fields):
    """An archive with this part of a log."""
    parts = parts or Parts([])
    log = Log(parts, first, ahead=0)
    log.entries = entries
    parts.members.update(log.members(**fields))
    return parts.write()


def compared(*archives):
    return audit.compare([audit.Audit(io.BytesIO(data), (), keep=True) for data in archives])


def reasons(found):
    return [reason["reason"] for reason in found]


def view(data):
    """What the archive proves, for the judge of `parkgate.log`: another hand than audit.py's."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        names = file.namelist()
        entries, frontier = (
            [part[at : at + 32] for at in range(0, len(part), 32)]
            for part in (file.read(name) if name in names else b"" for name in ("log/entries.bin", "log/frontier.bin"))
        )
        root = file.read("log/checkpoint.cose")[-66 - 32 : -66]
    made = evidence.View()
    first = audit.Audit(io.BytesIO(data)).log.first
    made.add_root(first + len(entries), root)
    if first:
        made.add_nodes(evidence.frontier_nodes(first, frontier))
    made.add_nodes({(0, first + n): leaf_hash(entry) for n, entry in enumerate(entries)})
    return made


def two_views(seed):
    """(two archives, whether their histories differ in what both signed)."""
    rng = random.Random(seed)
    entries = [digest(b"%d" % n) for n in range(rng.randrange(2, 70))]
    other = list(entries)
    if rng.random() < 0.7:
        other[rng.randrange(len(other))] = digest(b"another")
    sizes = [rng.randrange(1, len(entries) + 1) for _ in range(2)]
    firsts = [rng.randrange(size) for size in sizes]
    both = [archive(list(of[:size]), first) for of, size, first in zip((entries, other), sizes, firsts)]
    return both, entries[: min(sizes)] != other[: min(sizes)]


def test_the_reasons_are_those_of_spec():
    words = {audit.WRONG: "failure", audit.NOT_SHOWN: "incomplete"}
    for reason, (line, effect, _) in audit.COMPARED.items():
        assert f"| `{reason}` | {line} | {words[effect]} |" in SPEC


def test_what_convicts_is_what_the_log_s_own_judge_convicts():
    convicted = agreed = silent = 0
    for seed in range(300):
        both, differ = two_views(seed)
        said = reasons(compared(*both))
        judged = evidence.conviction(*map(view, both))
        assert (said == ["two_histories"]) == (judged is not None), seed
        assert differ or judged is None, "nobody is convicted of one history"
        convicted += judged is not None
        agreed += said == []
        silent += said == ["not_comparable"]
    assert convicted > 50 and agreed > 50 and silent > 5, (convicted, agreed, silent)


def test_only_what_the_log_key_signed_convicts():
    entries, other = [digest(b"%d" % n) for n in range(9)], [digest(b"x%d" % n) for n in range(9)]
    assert reasons(compared(archive(entries, 0), archive(other, 0))) == ["two_histories"]
    stranger = Parts([], HubKey(7))
    forged = bytes(31) + b"\1" + bytes(31) + b"\1"
    for framed in (
        archive(other, 0, stranger),
        archive(other, 0, signature=forged),
        archive(other, 0, root=digest(b"a root that is not theirs")),
    ):
        assert reasons(compared(archive(entries, 0), framed)) == ["not_comparable"]
    assert reasons(compared(archive(entries, 0), Parts([]).write())) == ["not_comparable"]


def test_two_batches_of_one_place_are_found_across_archives():
    """Each archive alone is right."""
    plant = Plant(3, 6)
    one = Parts([plant])
    other = Parts([plant])
    other.batches()[:] = plant.sealed[:5]
    other.batches().append(_twin(plant))
    other.members[other.name("beats")] = []
    found = compared(one.write(), other.write())
    assert reasons(found) == ["two_batches", "not_comparable"] and found[0]["where"][0].endswith(" 5")


def _twin(plant):
    from parkgate.wire import cbor, cose

    sign1 = cose.Sign1(plant.sealed[5], 65101)
    fields = cbor.decode(sign1.payload)
    fields[8] = bytes([7]) * 16
    return plant.gateway.seal(cbor.encode(fields), seq=sign1.seq)


@pytest.mark.parametrize("split", [False, True])
def test_the_command_with_two_archives(tmp_path, capsys, split):
    entries = [digest(b"%d" % n) for n in range(20)]
    other = [digest(b"another"), *entries[1:]] if split else entries
    names = [str(tmp_path / name) for name in ("mine.zip", "theirs.zip")]
    for name, data in zip(names, (archive(entries[:12], 0), archive(other, 7))):
        with open(name, "wb") as file:
            file.write(data)
    page, document = tmp_path / "page.html", tmp_path / "said.json"
    trust = ["--trust", HubKey().id.hex()]
    code = audit.main([*names, *trust, "--html", str(page), "--json", str(document)])
    said = json.loads(document.read_text())
    assert said["form"] == "parkgate comparison 1" and [each["file"] for each in said["archives"]] == names
    assert (code, said["overall"]) == ((1, "failure") if split else (3, "incomplete")), "nobody witnessed this log"
    shown = capsys.readouterr().out
    for text in (shown, page.read_text()):
        assert ("THE ARCHIVES CONTRADICT EACH OTHER" in text) == split
        assert ("The archives tell one history" in text) != split
    assert ("two_histories (once)" in shown) == split


def test_an_archive_of_a_log_that_grew_agrees_with_the_one_before():
    plant = Plant(4, 8)
    parts = Parts([plant])
    log = Log(parts)
    parts.members.update(log.members())
    earlier = parts.write()
    log.entries += [digest(b"%d" % n) for n in range(100, 140)]
    log.first = 5
    parts.members.update(log.members())
    assert compared(earlier, parts.write(), earlier) == []
