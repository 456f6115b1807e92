"""Figures of the whole gateway on an emulated board, on MicroPython's own image: heap, start, punctuality, lost bytes.

    measure("pico", folder)       serial only: one meter at 1 Hz, a batch sealed every 10 s
    measure("pico_w", folder)     the same, sent by Wi-Fi and TLS to nats-server, with receipts from the hub, and the
                                  broker restarted while it is measured: a connection by TLS is in the figures

Heap and order of events are those of a board on both. Times are true on the plain Pico only: the emulated Pico W counts
cycles roughly, and its flash takes no time.
"""

from pathlib import Path

from host_tools.gateway.link import Link
from host_tools.hub.stores.store import connect
from host_tools.hub.verbs.enrol import enrol
from tests.board.emulated_pico import BoardError
from tests.board.whole_park import ACCESS_POINT, THIS_MACHINE, WholePark, lateness_ms, missed, quantile

TITLES = {"pico": "Pico, serial only", "pico_w": "Pico W, link up by TLS"}
PATIENCE_S = 120
RECONNECTIONS = 2
CONNECTED = b"connected to the broker"


def configured(park: WholePark) -> dict:
    """Settings as a whole file: for a board that nobody provisions."""
    settings = park.settings()
    if park.network:
        settings["hub"] = {"public_key": park.hub.about["public_key"]}
        settings["broker"].update(host=THIS_MACHINE, port=park.broker.port, tls="on", ca=park.authority.setting)
        settings["network"]["ssid"] = ACCESS_POINT
    return settings


def introduce(park: WholePark) -> None:
    """Enrol the board at the hub, by the public key that its console shows."""
    with Link(park.port, PATIENCE_S) as link:
        key = link.facts("identity")["public_key"]
    database = connect(park.hub.folder)
    try:
        enrol(database, bytes.fromhex(key), "emulated")
    finally:
        database.close()


def measure(board: str, folder: Path, measured_s: int = 330) -> list[dict]:
    """The figures; `measured_s` is board time. Raises BoardError when it does not run as it should."""
    with WholePark(board, folder) as park:
        park.write_flash(configured(park))
        park.on()
        park.wait(lambda status: status["sampled"], "the first sample")
        if park.network:
            introduce(park)
            begun = park.wait(lambda status: status["acknowledged"], "the first receipt")
        else:
            begun = park.wait(lambda status: status["batches"], "the first batch")
        assert park.pico is not None
        began_ms = park.pico.stats()["board_ms"]
        status = begun
        restarts = 0
        while (passed_ms := park.pico.stats()["board_ms"] - began_ms) < measured_s * 1000:
            # Apart from each other and from the first connection: the log holds a line back that comes again at once.
            if park.network and restarts + 1 <= (RECONNECTIONS + 1) * passed_ms // (measured_s * 1000):
                restarts += 1
                park.broker.stop()
                park.broker.start()
            status = park.status()
        connections = park.heard.count(CONNECTED)
        stats = park.pico.stats()
        if status["crashes"] or status["dropped"] or park.network and not status["connected"]:
            raise BoardError(f"it does not run well: {status}\n{bytes(park.heard[-3000:]).decode()}")
        if park.network and connections <= RECONNECTIONS:
            raise BoardError(f"only {connections} connections")
    line = stats["uart"][1]
    late = lateness_ms([turn for turn in line["turns_ms"] if turn >= began_ms])
    title = TITLES[board]
    found = [
        ("heap free", status["heap_limit"] - status["heap_used"], "bytes"),
        ("heap free at the worst moment", status["heap_limit"] - status["heap_peak"], "bytes"),
        ("power on to first sample", line["turns_ms"][0] / 1000, "s"),
        ("UART bytes lost", line["overruns"] + line["received_while_off"], "bytes"),
        ("flash programmed where not erased", stats["flash"]["not_erased"], "bytes"),
        ("samples while measured", len(late), ""),
        ("samples missed", missed([turn for turn in line["turns_ms"] if turn >= began_ms]), ""),
        ("batches while measured", status["batches"] - begun["batches"], ""),
        ("connections while measured", restarts, ""),
        ("lateness of samples, p50", quantile(late, 0.5), "ms"),
        ("lateness of samples, p99", quantile(late, 0.99), "ms"),
        ("lateness of samples, p99.9", quantile(late, 0.999), "ms"),
        ("lateness of samples, most", late[-1], "ms"),
    ]
    return [{"name": f"{title}: {name}", "value": value, "unit": unit} for name, value, unit in found]
