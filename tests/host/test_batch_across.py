"""The device's interpreter and CPython make the same bytes of the same readings, to the last bit of the signature."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batch_echo_device as echo
from batch_strategies import tables
from parkgate.wire import batch
from test_batch_properties import GATEWAY, SIGNER, opens, read, written_out
from test_unix_port import SEARCH_PATH

cases = st.lists(st.tuples(st.integers(0, 2**62 - 1), tables(), st.just([[1, 1, 1]])), min_size=1, max_size=8)


# One folder for all examples: each writes its file anew. An example starts an interpreter, so there are fewer.
@settings(
    max_examples=settings().max_examples // 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(described=cases)
def test_the_same_bytes_on_both(unix_port, tmp_path, described):
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(described))
    finished = unix_port.run(echo.__file__, [str(file)], path=SEARCH_PATH, timeout_s=60)
    assert finished.exit_code == 0, finished.output[-2000:]
    theirs = [bytes.fromhex(line) for line in finished.output.splitlines()]
    assert theirs == [echo.seal(SIGNER, GATEWAY, seq, made, happened) for seq, made, happened in described]
    for data, (_, made, _) in zip(theirs, described):
        assert opens(data)
        assert read(batch.Batch(data)) == written_out(made)
