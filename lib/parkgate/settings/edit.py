"""Settings by path: shown, set, added, removed and compared one at a time, for console and host alike.

A path is `section.name`, or `section.item.name` in the lists `buses` and `instruments`, where `item` is the item's
name. Values are text: whole numbers in digits, lists of names with commas, maps as JSON (`parse` reads it, json.loads
where there is one), text as it is ("" is empty).
Secrets can be set and never read: they show as (set) or (not set).
"""

from parkgate.errors import SettingsError

from . import DEFAULT, HIGH, KIND, LOW, NAME
from .schema import LISTS, REQUIRED, SENSORS, TABLE, check_field


def field_of(path: str):
    """(section, item or None, field or None) that `path` names. Raises SettingsError saying what there is."""
    parts = path.split(".")
    fields = TABLE.get(parts[0])
    if fields is None:
        raise SettingsError("no such section; there are " + ", ".join(sorted(TABLE)))
    in_list = parts[0] in LISTS
    rest = parts[1:]
    for field in fields:
        if rest and field[NAME] == rest[-1] and len(rest) > in_list:
            rest = rest[:-1]
            break
    else:
        field = None
    if not rest:
        return parts[0], None, field
    if in_list:
        return parts[0], ".".join(rest), field  # names may have dots in them
    raise SettingsError("%s has no such setting; there are %s" % (parts[0], ", ".join([f[0] for f in fields])))


def shown(field, value) -> str:
    """A value as text; a secret only as whether it is set."""
    kind = field[KIND]
    if kind == "secret":
        return "(set)" if value else "(not set)"
    if kind == "names":
        return ",".join(value) or '""'
    if kind == "map":
        return _json(value)
    return '""' if value == "" else str(value)


def _json(value) -> str:
    if isinstance(value, dict):
        return "{%s}" % ",".join(['"%s":%s' % (name, _json(value[name])) for name in sorted(value)])
    if isinstance(value, (list, tuple)):
        return "[%s]" % ",".join([_json(each) for each in value])
    if isinstance(value, str):
        return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"')
    return {True: "true", False: "false", None: "null"}.get(value, str(value)) if type(value) is not int else str(value)


def allowed(field) -> str:
    """What a field may be, in words."""
    _, kind, default, low, high, unit, text = field
    if kind == "int":
        what = "%d to %d%s" % (low, high, " " + unit if unit else "")
    elif kind == "choice":
        what = "one of " + ", ".join([str(c) for c in high])
    elif kind == "names":
        what = "up to %d names with commas" % high
    elif kind == "map":
        what = 'a map as {"name":value,…}'
    elif kind == "hex":
        what = "%d bytes in hexadecimal" % low
    elif kind == "base64":
        what = "base64 of up to %d characters" % high
    else:
        what = "%d to %d characters" % (low, high)
    if default is REQUIRED:
        said = "must be given"
    elif default is None:
        said = "chosen by the gateway"
    else:
        said = "default " + shown(field, default)
    return "%s; %s (%s)" % (text, what, said)


def entries(settings: dict, prefix: str = ""):
    """Generator: (path, field, value) of every setting at or below `prefix`, in the order of the table."""
    for section, fields in TABLE.items():
        if section in LISTS:
            items = [("%s.%s." % (section, item.get("name", "")), item) for item in settings.get(section, ())]
        else:
            items = [(section + ".", settings.get(section, {}))]
        for start, values in items:
            for field in fields:
                path = start + field[NAME]
                if not prefix or path == prefix or path.startswith(prefix + "."):
                    default = "" if field[DEFAULT] is REQUIRED else field[DEFAULT]
                    yield path, field, values.get(field[NAME], default)


def help_entries(prefix: str = ""):
    """Generator: (path, what it may be) of the table."""
    for section, fields in TABLE.items():
        for field in fields:
            path = "%s%s.%s" % (section, ".NAME" if section in LISTS else "", field[NAME])
            if not prefix or path.startswith(prefix) or prefix.startswith(section + "."):
                if prefix.count(".") and not path.endswith("." + prefix.split(".")[-1]) and prefix not in path:
                    continue
                yield path, allowed(field)
    if prefix.startswith(SENSORS + "."):
        from . import sensors  # only where it is needed: it is large

        family = prefix[len(SENSORS) + 1 :]
        if family in sensors.FAMILIES:
            for field in sensors.option_fields(family, REQUIRED):
                yield "%s.NAME.options.%s" % (SENSORS, field[NAME]), allowed(field)


def value_of(path, field, text, parse=None):
    """`text` as a value of this field's kind. Raises SettingsError; the check of its range is validate's."""
    text = "" if text in ('""', "''") else text
    if field[KIND] == "names":
        return [name.strip() for name in text.split(",") if name.strip()]
    if field[KIND] == "map":
        assert parse is not None
        try:
            value = parse(text or "{}")
        except ValueError:
            raise SettingsError("%s: %s" % (path, allowed(field))) from None
        return value
    if field[KIND] == "int" or field[KIND] == "choice" and type(field[HIGH][0]) is int:
        if not text.lstrip("-").isdigit() or len(text) > 12:
            raise SettingsError("%s: %s" % (path, allowed(field)))
        return int(text)
    return text


def fresh_default(field):
    """The default of a field, not shared with the table."""
    default = field[DEFAULT]
    return list(default) if field[KIND] == "names" else dict(default) if field[KIND] == "map" else default


def _item(settings, section, name):
    for item in settings.get(section, ()):
        if item["name"] == name:
            return item
    there = ", ".join([item["name"] for item in settings.get(section, ())])
    raise SettingsError("%s: no such name; there are %s" % (section, there or "none"))


def put(settings: dict, path: str, text: str, parse=None):
    """Set one setting in place. Raises SettingsError."""
    section, item, field = field_of(path)
    if field is None:
        raise SettingsError("name one setting, such as %s.%s" % (section, TABLE[section][0][0]))
    values = settings[section] if item is None else _item(settings, section, item)
    values[field[NAME]] = _checked(path, field, text, parse)


def _checked(path, field, text, parse):
    """`text` as a value that this field may have, as far as that can be said of it alone. Raises SettingsError, which
    does not repeat what was typed."""
    value = value_of(path, field, text, parse)
    if field[KIND] != "base64":  # it may be the first piece of more
        try:
            check_field(path, field[KIND], field[LOW], field[HIGH], value)
        except SettingsError:
            raise SettingsError("%s: not allowed: %s" % (path, allowed(field))) from None
    return value


def append(settings: dict, path: str, at: int, text: str):
    """Put `text` behind the first `at` characters of one setting, in place: the way for what no line can hold. Sent
    twice it does the same. Raises SettingsError."""
    section, item, field = field_of(path)
    if field is None or field[KIND] not in ("text", "base64"):
        raise SettingsError("only a text can be continued, such as broker.ca")
    values = settings[section] if item is None else _item(settings, section, item)
    before = values[field[NAME]]
    if len(before) < at:
        raise SettingsError("%s: has %d characters so far" % (path, len(before)))
    values[field[NAME]] = before[:at] + text


def add(settings: dict, section: str, text: str, parse=None):
    """Add an item of a list in place: `text` is NAME=VALUE …, separated by spaces. Raises SettingsError."""
    if section not in LISTS:
        raise SettingsError("what can be added to: " + ", ".join(sorted(LISTS)))
    item = {}
    for pair in text.split():
        name, equals, value = pair.partition("=")
        field = field_of("%s.new.%s" % (section, name))[2] if equals else None
        if field is None:
            raise SettingsError("each part is NAME=VALUE; there are " + ", ".join([f[0] for f in TABLE[section]]))
        item[name] = _checked(name, field, value, parse)
    for field in TABLE[section]:
        if field[NAME] not in item:
            if field[DEFAULT] is REQUIRED:
                raise SettingsError("%s.%s: is missing: %s" % (section, field[NAME], allowed(field)))
            item[field[NAME]] = fresh_default(field)
    if item["name"] in [old["name"] for old in settings.get(section, ())]:
        raise SettingsError("%s: there is one with this name" % section)
    settings.setdefault(section, []).append(item)


def remove(settings: dict, path: str):
    """Remove an item of a list in place. Raises SettingsError."""
    section, item, field = field_of(path)
    if section not in LISTS or item is None or field is not None:
        raise SettingsError("name an item, such as instruments.NAME")
    settings[section].remove(_item(settings, section, item))


def differences(before: dict, after: dict):
    """Generator: a line for each setting that differs: `- path`, `+ path = value` or `path = old -> new`."""
    old = dict([(path, (field, value)) for path, field, value in entries(before)])
    for path, field, value in entries(after):
        had = old.pop(path, None)
        if had is None:
            yield "+ %s = %s" % (path, shown(field, value))
        elif had[1] != value and not (field[KIND] == "names" and list(had[1]) == list(value)):
            if field[KIND] == "secret":
                yield "%s = (changed)" % path
            else:
                yield "%s = %s -> %s" % (path, shown(field, had[1]), shown(field, value))
    for path in old:
        yield "- " + path


def is_public(args: list, word: bytes) -> bool:
    """Whether `word`, typed behind `args` of `settings set PATH`, `append PATH AT` or `add SECTION`, may be shown."""
    try:
        section, _, field = field_of(args[0])
    except SettingsError:
        return False
    if field is not None:
        return field[KIND] != "secret"
    if section not in LISTS:
        return False
    name, equals, _ = word.partition(b"=")
    names = [field[NAME].encode() for field in TABLE[section] if field[KIND] != "secret"]
    return name in names if equals else any([each.startswith(name) for each in names])
