"""Archives that every later version must judge as this one does: `python -m tests.host.archive_vectors`.

They were made once. A new one is added by a new name; one that is there is never made anew."""

import io
import json
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tests" / "vectors" / "archives"
sys.path[:0] = [str(ROOT / "tests" / "host"), str(ROOT / "lib")]


def archives():
    """Name → (archive, ids that the auditor names)."""
    import archive_example
    import crooked
    import crooked_stamps
    from archives import Parts, Plant
    from crooked_log import with_exchange, with_stamps
    from crooked_roots import with_root
    from key_chain import with_keys
    from stamp_authority import Authority

    yield "good_by_cable", archive_example.archive(), [archive_example.GATEWAY.id.hex()]
    rng, parts = random.Random(1), crooked.parts_of(1)
    yield "good_log_and_witness", *crooked.with_log(rng, parts)
    plant = Plant(90, 2)
    plant.lose(2)
    plant.more(events=[[5, 2, 3, 12, 0, []]])
    plant.beats = [plant.gateway.beat(time_ms=plant.time_ms)]
    parts = Parts([plant])
    yield "good_signed_gap", parts.write(), [parts.key.id.hex()]
    kinds = ("a_reading_changed", "a_batch_left_out", "the_tail_cut_by_the_hub", "a_second_history")
    for kind in (*kinds, "all_of_another_hub", "a_gateway_saw_another_log"):
        data, trust, _ = crooked.KINDS[kind](0)
        yield f"bad_{kind}", data, trust
    yield "good_hub_statements", *crooked.with_log(random.Random(2), crooked.parts_of(2))
    key = crooked.parts_of(3).key
    yield "good_exchange", with_exchange(key), [key.id.hex()]
    stamps = [crooked_stamps.honest(Authority("P-384"), ms) for ms in (crooked_stamps.MIDDLE_MS, crooked_stamps.END_MS)]
    yield "good_stamps", with_stamps(key, stamps), [key.id.hex()]
    yield "good_keys_that_follow", with_keys(key)[0].write(), [key.id.hex()]
    keys = "a_thief_names_a_key_of_his_own", "the_old_key_signs_on"
    made, trust_root = with_root(key)
    yield "good_hub_key_that_follows", made.write(), [trust_root]
    roots = "a_root_document_by_one_key", "the_key_of_before_signs_on", "a_root_document_left_out"
    places = ("two_gateways_at_one_place", "a_statement_of_a_place_left_out")
    places += ("registers_of_an_exchange_that_nobody_read",)
    stamped = "stamp_signed_by_another_key", "stamp_of_another_checkpoint", "readings_dated_later_than_they_were_signed"
    for kind in ("a_statement_of_another_place", "a_statement_of_somebody", *places, *stamped, *keys, *roots):
        data, trust, _ = crooked.KINDS[kind](0)
        yield f"bad_{kind}", data, trust


def main():
    from archives import load_audit

    FOLDER.mkdir(exist_ok=True)
    for name, data, trust in archives():
        if (FOLDER / f"{name}.zip").exists():
            continue
        (FOLDER / f"{name}.zip").write_bytes(data)
        said = load_audit().Audit(io.BytesIO(data), trust).verdict()
        judged = ("overall", "lines", "reasons", "energy", "hub_statements", "places", "time")
        kept = {"trust": trust, **{name: said[name] for name in judged}}
        (FOLDER / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
