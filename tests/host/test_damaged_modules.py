"""A gateway of which a module cannot be loaded goes on as far as it can: one module of each kind. All modules, and both
damages: `python -m tests.host.damaged_modules`."""

from damaged_modules import KEEPS, REPORTS, SAMPLES, SAYS, WHOLE, campaign

LEFT = {
    "upkeep": REPORTS,
    "console": REPORTS,
    "uplink": SAMPLES,
    "slots": KEEPS,
    "space": SAYS,
    "pulse_input": WHOLE,  # an instrument that cannot be built is left out
    "mqtt": WHOLE,  # a task that cannot go on is begun anew
}


def test_a_module_that_cannot_be_loaded_stops_no_more_than_needs_it():
    found = campaign(LEFT, ["missing"], at_a_time=len(LEFT), tell=lambda _line: None)
    assert {name: left for (name, _), left in found.items()} == LEFT
