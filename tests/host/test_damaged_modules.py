"""A gateway of which a module cannot be loaded goes on as far as it can: one module of each kind. All modules, and both
damages: `python -m tests.host.damaged_modules`."""

import ast
import re
from pathlib import Path

from damaged_modules import KEEPS, REPORTS, SAMPLES, SAYS, WHOLE, campaign

ROOT = Path(__file__).parents[2]
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


def test_safe_mode_has_what_the_way_to_the_hub_asks_of_a_gateway():
    asked = set(re.findall(r"\bgateway\.(\w+)", (ROOT / "firmware/gateway/uplink.py").read_text()))
    asked.discard("waiting")  # a module
    safe = ast.parse((ROOT / "firmware/gateway/safe.py").read_text())
    there = {node.name for node in ast.walk(safe) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    there |= {
        node.attr
        for node in ast.walk(safe)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    assert asked and asked <= there, asked - there
