from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.stages import DONE, LOG, Stage, run_stages

BUNDLE = Path(__file__).parent / "stage_bundle"


def stage(folder: Path, name: str, needs: tuple[str, ...] = (), reads: tuple[str, ...] = (), **overrides):
    place = folder / name
    configs = ("common.yaml", "write.yaml")
    return Stage("north", name, str(BUNDLE), configs, overrides, place, needs, reads)


def chain(folder: Path, first: str = "one ", second: str = "two") -> list[Stage]:
    """Two stages, the one that needs the other named first."""
    written = str(folder / "first" / "out.txt")
    return [
        stage(folder, "second", ("north/first",), text=second, before=written),
        stage(folder, "first", text=first),
    ]


def test_fingerprint_changes_with_all_that_a_stage_depends_on(tmp_path):
    read = tmp_path / "data.json"
    read.write_text("a")
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle")
    configs = ("common.yaml", "write.yaml")

    def fingerprint(before=(), **overrides):
        made = Stage("north", "s", str(bundle), configs, overrides, tmp_path / "s", reads=(str(read),))
        return made.fingerprint(before)

    found = [fingerprint(), fingerprint(text="b"), fingerprint(before=["x"])]
    assert fingerprint() == found[0]
    read.write_text("b")
    found.append(fingerprint())
    with open(bundle / "configs" / "write.yaml", "a") as file:
        file.write("# changed\n")
    found.append(fingerprint())
    assert len(set(found)) == len(found)


def test_stages_wait_for_what_they_need_and_are_done_once(tmp_path, capsys):
    seconds = run_stages(chain(tmp_path), jobs=2)
    assert set(seconds) == {"north/first", "north/second"}
    assert (tmp_path / "second" / "out.txt").read_text() == "one two"
    assert "said by the stage" in (tmp_path / "first" / LOG).read_text()
    out = capsys.readouterr().out
    assert "said by the stage" not in out
    assert out.index("north/first: ") < out.index("north/second: ")

    (tmp_path / "second" / "out.txt").write_text("kept")
    assert run_stages(chain(tmp_path), jobs=2) == seconds
    assert (tmp_path / "second" / "out.txt").read_text() == "kept"

    run_stages(chain(tmp_path, first="three "), jobs=1, quiet=True)
    assert (tmp_path / "second" / "out.txt").read_text() == "three two"


def test_log_of_a_stage_begins_with_what_the_stage_says(tmp_path):
    """MONAI's paragraph on trust, and its remarks on files that a bundle need not have, are no news here."""
    run_stages([stage(tmp_path, "first", text="a")], jobs=1)
    log = (tmp_path / "first" / LOG).read_text()
    assert log.startswith("python -m monai.bundle run --config_file ") and "said by the stage" in log
    assert not any(word in log for word in ("parsing config_file", "GHSA", "WARNING", "deprecated name"))


def test_failed_stage_names_its_log_and_leaves_the_others_done(tmp_path):
    with pytest.raises(InputError) as error:
        run_stages(chain(tmp_path, second="wrong"), jobs=1, quiet=True)
    assert str(error.value) == (
        "north/second: text: expected another word, found wrong; change it "
        f"(more in {tmp_path / 'second' / LOG}); mend it and go on with --resume"
    )
    assert "Traceback" in (tmp_path / "second" / LOG).read_text()
    assert (tmp_path / "first" / DONE).is_file() and not (tmp_path / "second" / DONE).exists()


def test_cause_of_an_unforeseen_error_is_told_first(tmp_path):
    with pytest.raises(InputError, match=r"^north/second: FileNotFoundError: .*nowhere\.txt"):
        run_stages([stage(tmp_path, "second", before=str(tmp_path / "nowhere.txt"))], jobs=1, quiet=True)


def test_killed_worker_is_told(tmp_path):
    with pytest.raises(InputError, match=r"^north/s: the worker process died; .*s/log\.txt"):
        run_stages([stage(tmp_path, "s", text="killed")], jobs=1, quiet=True)


def test_stage_that_nobody_provides_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"north/second: expected stages .* none that ends: north/first"):
        run_stages(chain(tmp_path)[:1], jobs=1)
