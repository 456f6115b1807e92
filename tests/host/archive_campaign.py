"""Honest and crooked archives in numbers, judged by audit.py, verify.html and the independent verifier:

    python -m tests.host.archive_campaign SIZE        SIZE honest and SIZE crooked archives

Every honest one must be found to be right, every crooked one refused for its own reason, and the verdicts equal."""

import contextlib
import io
import itertools
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent.parent), str(HERE.parent.parent / "lib")]

import crooked  # noqa: E402
import crooked_lots  # noqa: E402
import independent_archive  # noqa: E402
from archives import Parts, Plant, load_audit  # noqa: E402
from crooked_log import with_exchange  # noqa: E402
from firefox import Firefox  # noqa: E402
from hostile import hostile  # noqa: E402

PAGE = HERE.parent.parent / "host_tools" / "archive" / "verify.html"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
audit = load_audit()


def by_audit(data, trust):
    return json.loads(json.dumps(audit.Audit(io.BytesIO(data), trust).verdict()))


def by_the_other(data, trust):
    return json.loads(json.dumps(independent_archive.verdict(data, trust)))


class Page:
    """verify.html in a browser, opened from disk."""

    def __init__(self, browser):
        self.page = browser.new_context().new_page()
        self.requests, self.troubles = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.goto(PAGE.as_uri())

    def verdict(self, data, trust):
        self.page.evaluate("window.verdictJson = null")
        self.page.fill("#trust", " ".join(trust))
        self.page.set_input_files("#file", {"name": "a.zip", "mimeType": "application/zip", "buffer": data})
        while not (said := self.page.evaluate("window.verdictJson")):
            assert not self.troubles, self.troubles
            time.sleep(0.01)
        return json.loads(said)


def honest(seed):
    """(archive, trusted ids): some gateways and batches, with losses that are signed, with and without a log."""
    rng = random.Random(f"honest {seed}")
    plants = [Plant(300 + n, rng.randrange(1, 12)) for n in range(rng.randrange(1, 4))]
    for plant in plants:
        if rng.random() < 0.4:
            first = plant.gateway.seq
            lost = rng.randrange(1, 4)
            plant.lose(lost)
            plant.more(events=[[5, first, first + lost - 1, lost * 6, 0, []]])
        plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts(plants, left_out=["a batch that nobody has"] * rng.choice((0, 1, 4000)))
    trust = [parts.key.id.hex()]
    if rng.random() < 0.5:
        trust = [one.id.hex()[: rng.randrange(16, 65)] for one in parts.gateways]
    if rng.random() < 0.3:
        return crooked.with_log(rng, parts)
    if rng.random() < 0.2:
        return crooked_lots.honest(400 + rng.randrange(9), parts.key), [parts.key.id.hex()]
    if rng.random() < 0.3:
        return with_exchange(parts.key, first=rng.randrange(5)), [parts.key.id.hex()]
    return parts.write(), trust


def run(numbers, judges):
    """Lines of what went wrong, over the archives of these numbers."""
    kinds = list(crooked.KINDS)
    for number in numbers:
        for what in ("honest", kinds[number % len(kinds)]):
            if what == "honest":
                data, trust = honest(number)
                expected = None
            else:
                data, trust, expected = crooked.KINDS[what](number)
            said = [judge(data, trust) for judge in judges]
            reasons = [reason["reason"] for reason in said[0]["reasons"]]
            if any(other != said[0] for other in said[1:]):
                yield f"{what} {number}: the verdicts differ"
            if expected is None and reasons not in ([], ["no_log"], ["no_witness"]):
                yield f"{what} {number}: {reasons}"
            if expected and expected not in reasons:
                yield f"{what} {number}: {expected} is not among {reasons}"


def compare(seeds, judges):
    """Lines of what went wrong, over hostile files: one verdict by all, and none that is right."""
    for seed in seeds:
        data = hostile(seed)
        said = [judge(data, [crooked.parts_of(seed).key.id.hex()]) for judge in judges]
        if any(other != said[0] for other in said[1:]):
            yield f"hostile {seed}: the verdicts differ"
        if said[0]["overall"] == "success" or "\n" in "".join(r["reason"] for r in said[0]["reasons"]):
            yield f"hostile {seed}: {said[0]['overall']}"


def main(size):
    from playwright.sync_api import sync_playwright

    began, judges, pages = time.time(), {"audit.py": by_audit, "the independent verifier": by_the_other}, []
    with contextlib.ExitStack() as stack:
        if CHROMIUM:
            playwright = stack.enter_context(sync_playwright())
            pages.append(Page(playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])))
            judges["verify.html in Chromium"] = pages[0].verdict
        if FIREFOX:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            judges["verify.html in Firefox"] = stack.enter_context(Firefox(FIREFOX, folder, PAGE)).verdict
        faults = 0
        for fault in itertools.chain(run(range(size), [*judges.values()]), compare(range(size), [*judges.values()])):
            faults += 1
            print(fault, flush=True)
        for page in pages:
            assert page.requests == [PAGE.as_uri()], "the page asked for something else"
    print(f"{size} honest, {size} crooked, {size} hostile archives, {faults} faults, {time.time() - began:.0f} s:")
    print("\n".join(f"    {name}" for name in judges))
    return 1 if faults or not CHROMIUM else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
