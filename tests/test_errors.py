from __future__ import annotations

from shared_components.errors import closest, counted, unknown


def test_what_is_unknown_is_told_with_what_was_probably_meant():
    assert unknown("key", ["rounds", "round", "xyz"], ["rounds", "seed"]) == [
        "key 'round' is unknown (did you mean 'rounds'?)",
        "key 'xyz' is unknown; known are rounds, seed",
    ]


def test_words_that_are_no_text_are_compared_as_such():
    assert closest(12, ["112", "north"]) == " (did you mean '112'?)"


def test_counted():
    assert (counted(1, "image"), counted(0, "image")) == ("1 image", "0 images")
