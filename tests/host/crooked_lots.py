"""Crooked proofs of lots, from a hub that would like another lot than its gateways signed (SPEC 15.3)."""

from archives import Parts, Plant
from parkgate import events
from parkgate.sensing import jobs
from parkgate.wire import cbor

REGISTER = ["press", "import_active_energy", "kWh"]


def proof_parts(number, key):
    """(parts of an honest proof, its list of lots): cloth is cut, and the cut is sewn."""
    plant = Plant(number, 0)
    entries = (
        (jobs.STATION, 0, ["saw", ["press.import_active_energy"]]), (jobs.START, "CUT", jobs.HAND, 100),
        (jobs.MATERIAL_IN, 2, "CLOTH", 110), (jobs.COUNT, 2, 20, 120), (jobs.SCRAP, 2, [3, 2], 130),
        (jobs.STOP, 2, jobs.BY_HAND, 350), (jobs.START, "SHIRT", jobs.HAND, 400), (jobs.MATERIAL_IN, 7, "CUT", 410),
        (jobs.COUNT, 7, 10, 420), (jobs.STOP, 7, jobs.BY_HAND, 500),
    )  # fmt: skip
    for at, (what, job, detail, *registers) in enumerate(entries, 1):
        when = plant.time_ms, 0
        plant.more(events=[jobs.event(events.PRODUCTION, what, 0, at, when, job, detail, 100, registers)])
    gateway = plant.gateway
    lots = {
        "form": "parkgate lots 1", "lot": "SHIRT", "outside": ["CLOTH"],
        "jobs": [
            ["SHIRT", gateway.id, gateway.epoch, 7, 0, 9, 10, [], [[*REGISTER, "1.00"]]],
            ["CUT", gateway.id, gateway.epoch, 2, 0, 5, 20, [[3, 2]], [[*REGISTER, "2.50"]]],
        ],
    }  # fmt: skip
    plant.beats = []
    parts = Parts([plant], key, archive_class="lot")
    parts.members["lots.cbor"] = [cbor.encode(lots)]
    return parts, lots


def honest(number, key):
    """An honest proof of a lot."""
    return proof_parts(number, key)[0].write()


def register(kind):
    """Register these kinds; `kind` is that of crooked.py."""

    def crooked(reason, name):
        def add(change):
            def make(rng, parts, _honest):
                made, lots = proof_parts(200 + rng.randrange(9), parts.key)
                change(rng, made, lots)
                if "lots.cbor" in made.members:
                    made.members["lots.cbor"] = [cbor.encode(lots)]
                return made.write(), [parts.key.id.hex()]

            make.__name__ = name
            kind(reason)(make)

        return add

    @crooked("lot_malformed", "no_list_of_jobs")
    def _(rng, made, lots):
        del made.members["lots.cbor"]

    @crooked("lot_malformed", "a_list_of_jobs_of_another_form")
    def _(rng, made, lots):
        strange = (7, None, ["SHIRT"] * 9, lots["jobs"][0][:8], [*lots["jobs"][0][:4], 9, 0, *lots["jobs"][0][6:]])
        lots["jobs"].append(strange[rng.randrange(len(strange))])

    @crooked("lot_differs", "a_job_under_another_name")
    def _(rng, made, lots):
        lots["jobs"][rng.randrange(2)][0] = "SHIRT-9"

    @crooked("lot_differs", "the_proof_of_another_lot")
    def _(rng, made, lots):
        lots["lot"] = rng.choice(("SHIRT-9", "CUT"))

    @crooked("lot_counts", "more_pieces")
    def _(rng, made, lots):
        lots["jobs"][rng.randrange(2)][6] += rng.randrange(1, 9)

    @crooked("lot_counts", "no_scrap")
    def _(rng, made, lots):
        lots["jobs"][1][7] = []

    @crooked("lot_figures", "less_energy")
    def _(rng, made, lots):
        lots["jobs"][rng.randrange(2)][8][0][3] = f"0.{rng.randrange(10, 99)}"

    @crooked("lot_entry_missing", "a_job_that_was_not_begun")
    def _(rng, made, lots):
        lots["jobs"][0][3] = rng.choice((1, 8, 99))

    @crooked("lot_genealogy", "what_went_in_left_out")
    def _(rng, made, lots):
        lots["jobs"].pop() if rng.random() < 0.5 else lots["outside"].clear()

    @crooked("lot_gap", "a_batch_of_a_job_left_out_by_the_hub")
    def _(rng, made, lots):
        at = rng.randrange(2, 5)
        del made.batches()[at]
        chain = made.gateways[0].chains[0]
        made.gateways[0] = made.gateways[0]._replace(chains=[chain._replace(runs=[(0, at - 1), (at + 1, 9)])])

    @crooked("lot_open", "a_job_that_ends_too_early")
    def _(rng, made, lots):
        lots["jobs"][0][5] = rng.randrange(7, 9)
