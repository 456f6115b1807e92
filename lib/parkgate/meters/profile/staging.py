"""The profiles that settings name, looked at before the settings are staged: the error names file and line,
and no instrument fails at run time because of it.

Pure: `read(name)` gives a profile file's bytes (None when there is none), `parse` is a JSON parser.
"""

from parkgate.errors import ProfileError, SettingsError


def check(read, parse, instruments: list, before=()):
    """Check the profile and channels of each entry of settings `instruments`, except those that `before` has as well.
    Raises SettingsError that names the setting, the file and the line."""
    known = [_wanted(item) for item in before]
    for i, item in enumerate(instruments):
        if "profile" in item and _wanted(item) not in known:
            _check_one(read, parse, "instruments.%d" % i, item)


def _wanted(item):
    return (
        item.get("profile"),
        bool(item.get("address")),
        list(item.get("channels", ())),
        list(item.get("report", {}).get("deadbands", ())),
        item.get("ct_ratio", ""),
        item.get("vt_ratio", ""),
    )


def _check_one(read, parse, path, item):
    from parkgate.meters import profiles  # only where it is needed: it is large

    name = item["profile"]
    file_name = profiles.split_name(name)[0]
    data = read(file_name)
    if data is None:
        raise SettingsError("%s.profile: there is no profile %r here" % (path, file_name))
    document = None
    try:
        text = str(data, "utf-8")
        del data  # file, text and what it says together are more than a small board has to spare
        document = parse(text)
        del text
        ratios = item.get("ct_ratio", ""), item.get("vt_ratio", "")
        profile = profiles.load(document, name, list(item.get("channels", ())), *ratios)
    except ProfileError as e:
        from .lines import line_of

        message = str(e)
        if message[: len(name) + 2] == name + ": " and ("it has no" in message or "want at most" in message):
            raise SettingsError("%s.channels: %s" % (path, message)) from None
        for setting in ("ct_ratio", "vt_ratio"):
            if message[: len(name) + len(setting) + 4] == "%s: %s: " % (name, setting):
                raise SettingsError("%s.%s: %s" % (path, setting, message)) from None
        if "there is no variant" in message:
            raise SettingsError("%s.profile: %s" % (path, message)) from None
        raise SettingsError(
            "%s.profile: %s.json line %d: %s"
            % (path, file_name, line_of(str(read(file_name), "utf-8"), message, document), message)
        ) from None
    except ValueError as e:  # not UTF-8, not JSON
        raise SettingsError("%s.profile: %s.json is not JSON: %s" % (path, file_name, e)) from None
    wanted = "dlt645" if item.get("address") else "modbus"  # only a DL/T 645 meter has an address
    if profile.protocol != wanted:
        raise SettingsError("%s.profile: %s speaks %s, its bus speaks %s" % (path, name, profile.protocol, wanted))
    names = [channel.quantity for channel in profile.channels]
    for quantity in item.get("report", {}).get("deadbands", ()):
        if quantity not in names:
            raise SettingsError("%s.report.deadbands: it has no %s; there are %s" % (path, quantity, ", ".join(names)))
