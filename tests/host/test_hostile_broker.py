"""The short form of `make broker`: a broker that lies, and planted faults that it must find."""

import pytest

from hostile_broker import Broken, campaign


@pytest.mark.parametrize("seed", [1, 2])
def test_a_broker_that_lies_frees_nothing_invents_nothing_and_moves_no_clock(seed):
    world = campaign(seed, 1500)
    assert all(gateway.sealed for gateway in world.gateways)
    assert all(gateway.clock.offset_ms is not None for gateway in world.gateways)


def found(actions=1500, seeds=range(1, 4)):
    for seed in seeds:
        try:
            campaign(seed, actions)
        except Broken as error:
            return str(error)
    return None


def test_a_gateway_that_takes_any_answer_for_a_fresh_one_is_found(monkeypatch):
    from hostile_broker import Sender

    real = Sender._take_answer

    def careless(self, beat_hash, hub_unix_ms, wanted):
        self._asked = beat_hash, self._mono_ms() - 100
        real(self, beat_hash, hub_unix_ms, wanted)

    monkeypatch.setattr(Sender, "_take_answer", careless)
    assert "off by" in (found() or "")


def test_a_gateway_that_frees_without_checking_is_found(monkeypatch):
    """Whatever comes on the receipt's topic frees the oldest batch, as an acknowledgement of the broker would."""
    from hostile_broker import Gateway

    def careless(self, _message):
        held = self.journal.held()
        return bool(held) and self.journal.acknowledge(held[0])

    monkeypatch.setattr(Gateway, "take_receipt", careless)
    assert "the hub has not got it" in (found() or "")


def test_a_hub_that_takes_a_batch_in_anothers_name_is_found(monkeypatch):
    from host_tools.hub.receiving import intake

    real = intake.verify.verify

    def careless(by_topic, topic, data):
        if topic.endswith("/batch"):
            parts = topic.split("/")
            for other in by_topic:
                try:
                    gateway, batch = real(by_topic, f"tele/{other}/batch", data)
                    return by_topic.get(parts[1], gateway), batch
                except intake.Refusal:
                    continue
        return real(by_topic, topic, data)

    monkeypatch.setattr(intake.verify, "verify", careless)
    assert found() is not None
