from __future__ import annotations

from shared_components.report.privacy import epsilon_text, losses_stayed, privacy_note


def test_what_is_promised_in_words():
    assert privacy_note(None) == "Updates were neither clipped nor given noise."
    clipped = privacy_note({"clip": 2.0, "noise": 0.0, "delta": 1e-5})
    assert clipped == "Each update was clipped to a norm of 2 and given no noise, which promises no privacy."
    noisy = privacy_note({"clip": 2.0, "noise": 0.5, "delta": 1e-6})
    assert "noise of 0.5 times that on every number" in noisy and "at delta 1e-06" in noisy
    assert [losses_stayed(given) for given in (None, {}, {"losses": True}, {"losses": False})] == [
        False
    ] * 3 + [True]
    assert [epsilon_text(None), epsilon_text(3.14159)] == ["", "3.14"]
