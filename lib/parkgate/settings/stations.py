"""What the settings of stations and of the rest must agree on. Loaded only where there are stations."""

from parkgate.errors import SettingsError
from parkgate.sensing import jobs, scans

_COUNTING = ("piece_count", "cycle_count", "pulse_count")


def check(settings: dict):
    """Raises SettingsError that names the setting."""
    ports = [bus["device"] for bus in settings["buses"]]
    bauds = {}
    names = [item["name"] for section in ("instruments", "sensors") for item in settings[section]]
    stations = settings["stations"]
    upper = [item["name"].upper() for item in stations]
    for i, item in enumerate(stations):
        path = "stations.%d." % i
        if not scans.is_body(scans.STATION, upper[i]) or upper.count(upper[i]) > 1:
            raise SettingsError(
                "%sname: %r cannot stand on the machine's tag: letters, digits and - . / only, no other station's name"
                % (path, item["name"])
            )
        port = item["scanner"]
        if port and port in ports:
            raise SettingsError("%sscanner: %s is the port of a bus; a scanner needs one of its own" % (path, port))
        if port and bauds.get(port, item["baud"]) != item["baud"]:
            raise SettingsError("%sbaud: another station has the same scanner at %d baud" % (path, bauds[port]))
        bauds[port] = item["baud"]
        _check_registers(path, item, names)
        try:
            jobs.shift_ends(item["shift_ends"])
        except ValueError:
            raise SettingsError("%sshift_ends: must be rising times such as 06:00 14:00 22:00" % path) from None


def _check_registers(path, item, names):
    registers = item["registers"]
    for register in registers:
        name, dot, quantity = register.rpartition(".")
        if not dot or not quantity or name not in names:
            raise SettingsError(
                "%sregisters: %r must be INSTRUMENT.QUANTITY; the instruments are %s"
                % (path, register, ", ".join(names) or "none")
            )
    if len(set(registers)) != len(registers):
        raise SettingsError("%sregisters: one stands there twice" % path)
    if item["counts"] == "machine" and not [each for each in registers if each.rpartition(".")[2] in _COUNTING]:
        raise SettingsError("%scounts: machine needs a register that counts: %s" % (path, ", ".join(_COUNTING)))
