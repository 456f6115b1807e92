"""Profiles that settings name are looked at when they are staged: refused by setting, file and line."""

import json

from check import equal, raises, true
from parkgate.errors import SettingsError
from parkgate.meters.profile.staging import check
from test_profile_lines import GOOD

FAULTS = (
    ('["voltage_l2", 2,', '["volts", 2,', "m.json line 8", "unknown quantity"),
    ('["voltage_l3", 4,', '["voltage_l3", 65536,', "m.json line 9", "impossible address"),
    ('0, "V", "line 9"', '99, "V", "line 9"', "m.json line 9", "wrong scale"),
)


class Files:
    """Profile files by name, and which were read."""

    def __init__(self, **files):
        self.files = files
        self.asked = []

    def read(self, name):
        self.asked.append(name)
        return self.files[name].encode() if name in self.files else None


def item(name="press", profile="m", **more):
    found = {"name": name, "profile": profile, "bus": "rs485", "unit_id": 1}
    found.update(more)
    return found


def refused(files, *items, before=()):
    return str(raises(SettingsError, check, files.read, json.loads, list(items), before))


def test_good_profiles_pass():
    files = Files(m=GOOD)
    check(files.read, json.loads, [item(), item("oven", "m+other"), item("mill", channels=["voltage_l3"])])
    equal(files.asked, ["m", "m", "m"])


def test_faults_are_named_by_setting_file_and_line():
    for old, new, place, words in FAULTS:
        said = refused(Files(m=GOOD, bad=GOOD.replace(old, new)), item(), item("oven", "bad"))
        true(said.startswith("instruments.1.profile: "), said)
        true(place.replace("m.json", "bad.json") in said and words in said, said)


def test_what_is_not_there_is_refused():
    files = Files(m=GOOD, torn=GOOD[:100])
    true("no profile 'x'" in refused(files, item(profile="x")))
    true("instruments.0.profile: m: there is no variant 'fc9'" in refused(files, item(profile="m+fc9")))
    said = refused(files, item(channels=["voltage_l1", "current"]))
    true(said.startswith("instruments.0.channels: m: it has no 'current'"), said)
    true("torn.json is not JSON" in refused(files, item(profile="torn")))
    said = refused(files, item(report={"deadbands": {"frequency": 3}}))
    true(said.startswith("instruments.0.report.deadbands: it has no frequency"), said)


def test_what_did_not_change_is_not_read_again():
    files = Files(m=GOOD)
    check(files.read, json.loads, [item("a"), item("b", unit_id=2)], [item("a")])
    equal(files.asked, [])
    check(files.read, json.loads, [item("a", channels=["voltage_l1"])], [item("a")])
    equal(files.asked, ["m"])
    check(files.read, json.loads, [{"name": "half"}])
