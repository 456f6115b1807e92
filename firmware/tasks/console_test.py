"""Console commands that try things out: meters, sensors, and the way to the hub step by step."""

import asyncio
import json

from parkgate.errors import LinkError, ModbusError, ModbusExceptionReply, ParkgateError, SettingsError, TlsError
from parkgate.reading import QUALITY_NAMES
from tasks.console_look import whole_number

_SCAN_TIMEOUT_US, _SCAN_TCP_TIMEOUT_US = 120000, 1500000  # a gateway first waits for the meter behind it
_READ_INPUT = 4
_QUIET_MS = 500
_TRIES = 3  # a batch may be sent so often until its silence is worth a word
_STEPS = ("wi-fi", "dns", "tcp", "tls", "mqtt", "receipt")


class Tests:
    """`gateway` is the App."""

    def __init__(self, gateway):
        self._gateway = gateway

    async def meters_list(self, _request, say):
        running = [instrument.name for instrument in self._gateway.account.instruments()]
        away = self._gateway.account.in_words()
        for item in self._gateway.settings["instruments"]:
            await say(
                "%s: %s, bus %s, %s, every %d ms%s"
                % (
                    item["name"], item["profile"], item["bus"],
                    "address " + item["address"] if item["address"] else "unit id %d" % item["unit_id"],
                    item["period_ms"],
                    away.get(item["name"], "") if item["name"] in running else "; NOT SAMPLED: see log",
                )
            )  # fmt: skip
        if not self._gateway.settings["instruments"]:
            await say("none: settings add instruments name=… profile=… bus=… unit_id=…")

    async def meters_scan(self, request, say):
        args = request.args
        bus = self._gateway.buses.get(args[0])
        if bus is None:
            raise SettingsError("there is no such bus; there are " + (", ".join(sorted(self._gateway.buses)) or "none"))
        if next(item for item in self._gateway.settings["buses"] if item["name"] == args[0])["protocol"] == "dlt645":
            from tasks.console_dlt645 import scan

            await scan(bus, say)
            return
        first = whole_number(args[1], "FIRST", 1, 255) if len(args) > 1 else 1
        last = whole_number(args[2], "LAST", first, 255) if len(args) > 2 else (first if len(args) > 1 else 32)
        found = 0
        for unit_id in range(first, last + 1):
            answer = await self._ask(bus, unit_id)
            if answer:
                found += 1
                await say("unit id %d: %s" % (unit_id, answer))
                known = unit_id in bus.client.units
                try:
                    await self._say_likely(bus, unit_id, say)
                finally:
                    if not known:
                        bus.client.units.pop(unit_id, None)
        await say("%d of %d unit ids answered" % (found, last - first + 1))

    async def _ask(self, bus, unit_id):
        """What a unit answered, in words; "" for silence."""
        known = unit_id in bus.client.units
        if not known:
            bus.client.unit(unit_id, _SCAN_TCP_TIMEOUT_US if hasattr(bus, "line") else _SCAN_TIMEOUT_US)
        try:
            await bus.exchange(unit_id, _READ_INPUT, 0, 1)
            return "answers"
        except ModbusExceptionReply as e:
            return "answers (exception code %d)" % e.code
        except LinkError:
            raise
        except ModbusError as e:
            return "" if type(e).__name__ == "ModbusTimeout" else "something answers: %s" % e
        finally:
            if not known:
                bus.client.units.pop(unit_id, None)

    async def _say_likely(self, bus, unit_id, say):
        """Which of the profiles in use the unit answers plausibly; `parkgate meters scan` tries all there are."""
        from parkgate.meters import identify

        likely = []
        for name in sorted(set([item["profile"] for item in self._gateway.settings["instruments"]])):
            candidate = self._candidate(name)
            while candidate and candidate.wanted(True):
                channel = candidate.wanted(True)
                try:
                    reply = await bus.exchange(unit_id, channel.function, channel.address, channel.wide)
                    candidate.take(reply.data, False)
                except ModbusExceptionReply:
                    candidate.take(None, True)
                except ModbusError:
                    candidate.take(None, False)
            if candidate and candidate.plausible:
                likely.append(candidate)
            candidate = None
        for candidate in identify.ranking(likely):
            shown = [
                "%s %s %s" % (quantity, _decimal(value, scale), unit)
                for quantity, (value, scale, unit) in sorted(candidate.values.items())
                if unit in ("V", "Hz")
            ]
            await say("unit id %d: plausible as %s: %s" % (unit_id, candidate.name, ", ".join(shown[:4])))

        if await self._has_sunspec_mark(bus, unit_id):
            await say("unit id %d: speaks SunSpec; if it is a meter: profile=sunspec" % unit_id)

    async def _has_sunspec_mark(self, bus, unit_id):
        from parkgate.meters.profile import sunspec

        for base in sunspec.BASES:
            try:
                if (await bus.exchange(unit_id, 3, base, 2)).data == sunspec.MARK:
                    return True
            except ModbusError:
                pass
        return False

    def _candidate(self, name):
        """A profile of the settings on trial; None where its file has a fault."""
        file_name, _, variant = name.partition("+")
        data = self._gateway.read_profile(file_name)
        if data is None or b'"sunspec"' in data:
            return None  # its mark shows that a meter is SunSpec
        from parkgate.meters import identify, profiles

        try:
            document = json.loads(data)
            data = None
            if variant:
                document = profiles.with_variant(document, variant)
            # Only what is asked: all rows of a large profile are more than a board has to spare.
            rows = [row for row in document["registers"] if identify.is_key(row[0])]
            names = [row[0] for row in rows]
            if rows:
                document["registers"], document["usual"], document["rollover"] = rows, names, {}
                scales = document.get("scales", {})
                document["scales"] = {quantity: scales[quantity] for quantity in scales if quantity in names}
            document["variants"] = {}
            rows = profiles.check(document, name)
            document = None
            return identify.Candidate(name, rows)
        except (ParkgateError, ValueError, TypeError, KeyError):
            return None

    def _instrument(self, name):
        there = self._gateway.account.instruments()
        for instrument in there:
            if instrument.name == name:
                return instrument
        names = ", ".join([instrument.name for instrument in there])
        raise SettingsError("no such instrument is sampled; there are " + (names or "none"))

    async def sensor_read(self, request, say):
        await self._read(request, say)  # what a command returns is called after its reply

    async def _read(self, request, say):
        """Read one instrument now and show its values, and what disagrees among them; what was said of that."""
        from parkgate.wire.batch import decode_schema

        instrument = self._instrument(request.args[0])
        channels = decode_schema(self._gateway.schema)[instrument.index][2]
        values, qualities = await instrument.read()
        for i, (quantity, unit, scale) in enumerate(channels):
            quality = qualities[i] if qualities else 0
            value = "none" if values[i] is None else _decimal(values[i], scale)
            if values[i] is not None and unit != "1":
                value += " " + unit
            await say("%s = %s (%s)" % (quantity, value, QUALITY_NAMES.get(quality, quality)))
        lines = self._diagnosis(instrument, channels, values, qualities)
        for text in lines or ():
            await say(text)
        return lines

    async def meters_test(self, request, say):
        lines = await self._read(request, say)
        if not lines:
            await say("what is measured twice agrees" if lines is not None else "nothing is measured twice")
        await self._line(self._instrument(request.args[0]), say)

    async def meters_stats(self, request, say):
        await self._line(self._instrument(request.args[0]), say)

    async def _line(self, instrument, say):
        """What was counted on a meter's line and learnt of it; nothing for what is on no bus."""
        if not hasattr(instrument, "unit"):
            return
        unit = instrument.unit
        statistics = unit.statistics.as_dict()
        for key in sorted(statistics):
            await say("line %s = %s" % (key, statistics[key]))
        await say("line doubles = %d" % unit.doubles)
        for name, value in instrument.connection():
            await say("line %s = %s" % (name, value))
        await say("learnt reply time-out = %d ms" % (unit.reply_timeout_us // 1000))
        for name, number in instrument.silence.lines():
            await say("learnt %s = %d" % (name, number))

    def _diagnosis(self, instrument, channels, values, qualities):
        """What disagrees among the numbers of a meter, in sentences; None where nothing is measured twice."""
        consistency = instrument.consistency if hasattr(instrument, "consistency") else None
        if consistency is None:
            return None
        from gateway.loaded import drop
        from parkgate.meters.consistency import diagnosis

        found = [diagnosis.sentence(*told) for told in consistency.holds()]
        lines = ["DISAGREES, signed: " + text for text in found]
        for told in consistency.at_once(values, qualities, self._gateway.mono_ms()):
            text = diagnosis.sentence(*told)
            if text not in found:
                lines.append("disagrees just now: " + text)
        seen = {}
        for i, (quantity, _, scale) in enumerate(channels):
            if values[i] is not None:
                seen[quantity] = (values[i], scale)
        lines += ["look at it: " + text for text in diagnosis.first_look(seen)]
        drop(("parkgate.meters.consistency.diagnosis",))
        return lines

    # The way to the hub.

    async def link_test(self, _request, say):
        failed = None
        for step in _STEPS:
            if failed:
                await say("%s: not tried, because %s failed" % (step, failed))
                continue
            before = self._gateway.mono_ms()
            try:
                result = await getattr(self, "_" + step.replace("-", ""))()
            except (LinkError, SettingsError) as e:
                failed = step
                await say("%s: FAILED: %s" % (step, e))
                await say("%s: what to do: %s" % (step, _ADVICE[step]))
                continue
            await say("%s: %s (%d ms)" % (step, result, self._gateway.mono_ms() - before))

    async def _wifi(self):
        state = getattr(self._gateway.board, "wifi_state", None)
        if state is None:
            return "skipped: this board has no Wi-Fi, or its network comes up without us"
        return state()  # text, or LinkError that says what is wrong

    async def _dns(self):
        host = self._gateway.settings["broker"]["host"]
        if all(c in "0123456789." for c in host):
            return "skipped: broker.host is an address"
        resolve = getattr(self._gateway.board, "resolve", None)
        if resolve is None:
            return "skipped: this board looks names up when it connects"
        return "ok, " + await resolve(host)

    async def _tcp(self):
        broker = self._gateway.settings["broker"]
        reader, writer = await self._gateway.board.connect(
            broker["host"], broker["port"], broker["connect_timeout_s"] * 1000
        )
        try:
            # A refusal shows at the first read only. A broker says nothing before it is spoken to.
            if not await asyncio.wait_for_ms(reader.read(1), _QUIET_MS):
                raise LinkError("%s:%d closes the connection at once" % (broker["host"], broker["port"]))
        except asyncio.TimeoutError:
            pass
        except OSError as e:
            raise LinkError("no connection to %s:%d: %s" % (broker["host"], broker["port"], e)) from None
        finally:
            writer.close()
            try:
                await asyncio.wait_for_ms(writer.wait_closed(), 1000)
            except (OSError, asyncio.TimeoutError):
                pass  # it is gone either way
        return "ok"

    async def _tls(self):
        if self._gateway.settings["broker"]["tls"] != "on":
            return "skipped: broker.tls is off"
        try:
            return await self._mqtt()
        except TlsError:
            raise
        except LinkError:
            return "ok, the broker's certificate is good"  # what else is wrong, the next step says

    async def _mqtt(self):
        gateway = self._gateway
        if gateway.sender and gateway.sender.connected:  # a second one could be more than the memory allows
            return "ok, connected"
        session = gateway.uplink.make_session(lambda topic, message: None, "-test")
        try:
            await session.open(["cmd/%s/receipt" % gateway.topic_id])
        finally:
            await session.close()
        return "ok, the broker lets this gateway in"

    async def _receipt(self):
        gateway = self._gateway
        if not gateway.hub:
            raise SettingsError("hub.public_key is not set")
        waiting = len(gateway.journal.held())
        if gateway.sender and not gateway.sender.connected:
            raise LinkError("not connected just now, %d batches wait; it tries again within a minute" % waiting)
        if gateway.receipt_ms is not None:
            silent_s = (gateway.mono_ms() - gateway.receipt_ms) // 1000
            settings = gateway.settings
            usual_s = settings["sealing"]["period_s"] + _TRIES * settings["sending"]["receipt_timeout_s"]
            if not waiting or silent_s <= usual_s:
                return "ok, the last one came %d s ago" % silent_s
            raise LinkError("the last one came %d s ago, %d batches wait" % (silent_s, waiting))
        if not waiting and not gateway.journal.unsealed_records:
            return "nothing waits for one"
        raise LinkError("none came since the start, %d batches wait" % waiting)


_ADVICE = {
    "wi-fi": "check network.ssid and network.password, and move the board nearer",
    "dns": "check broker.host, or write the address in digits",
    "tcp": "check broker.host and broker.port, that the broker runs, and that no firewall is between",
    "tls": "check broker.ca (the certificate that the broker's comes from), broker.host, and the clock (time)",
    "mqtt": "check broker.user and broker.password, and what the broker lets this gateway do",
    "receipt": "wait one sealing period; then see that the hub runs, knows this gateway (parkgate enrol) and has the "
    "key in hub.public_key",
}


def _decimal(value, scale):
    """`value` × 10^-scale as text."""
    if scale <= 0:
        return str(value * 10**-scale)
    text = str(abs(value))
    text = "0" * (scale + 1 - len(text)) + text
    return ("-" if value < 0 else "") + text[:-scale] + "." + text[-scale:]
