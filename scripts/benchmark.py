"""Measure what README and docs state: ``python scripts/benchmark.py COMMAND …``; ``-h`` lists the commands.

Every quality row is a run of a bundle's configs, so nothing is measured that a user could not run. Speed and memory
are printed as ratios within one run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared_components.command_line import names
from shared_components.command_line import run as run_command_line
from shared_components.errors import InputError


def quality(
    *,
    scenario: str = "head",
    seeds: int = 3,
    output_dir: str = "outputs/benchmark",
    report_only: bool = False,
    held_out: str | Sequence[str] | None = None,
    labelled: str | Sequence[str] | None = None,
    rows: str | Sequence[str] | None = None,
    reference: str | None = None,
    jobs: int = 2,
    fast: bool = False,
    smoke: bool = False,
) -> None:
    """Train for several seeds and print the tables of Dice and HD95, with paired differences and their intervals.

    What is finished is kept, so an interrupted benchmark goes on where it was. Beside the tables, quality.md, lie every
    subject's scores, all differences and a picture with a point a seed.

    Args:
        scenario: head (three hospitals made from a real head), patients (the same of whom each hospital's have
            something else), spine (six real hospitals), vessels (three organs), or, of models for scanners that they
            have not seen, cardiac (phantoms) and spine_unseen (six real hospitals).
        seeds: how many seeds, from 0 on; each trains everything anew, on phantoms of its own where there are phantoms.
        output_dir: folder of the runs; all lies in <output_dir>/<scenario>, other sizes and labels beside it.
        report_only: print the tables of the runs that are there.
        held_out: cardiac and spine_unseen: what to leave out in turn, such as C,D or ucl,nwu; all by default.
        labelled: the other scenarios: domains with labels, such as ceitec, ceitec+ucl for both, ceitec,ucl for one
            after the other; the scenario's first by default.
        rows: methods, by their keys in shared_components/benchmarks/unseen_rows.py for cardiac and spine_unseen; of the
            others those that are no part of the study, in quality_rows.py; all by default, none for the study alone.
        reference: the method that the others are compared with, as the tables call it; by default what
            clients have chosen without labels, or the adaptation; of unseen scanners meta-learning with strong looks,
            or of rows without it the first.
        jobs: trainings at a time, of one thread each; a study itself runs as its file says.
        fast: a third of the updates, in <output_dir>/<scenario>_fast.
        smoke: at the smallest sizes, to try it; in <output_dir>/<scenario>_smoke.
    """
    from shared_components.benchmarks import unseen_rows
    from shared_components.benchmarks.quality_scenarios import SCENARIOS
    from shared_components.benchmarks.study_quality import study_quality
    from shared_components.benchmarks.unseen_quality import unseen_quality

    if scenario in unseen_rows.SCENARIOS:
        sizes = (jobs, fast, smoke, reference)
        print(unseen_quality(scenario, seeds, output_dir, report_only, held_out, rows, *sizes))
    elif scenario in SCENARIOS:
        print(
            study_quality(
                scenario, seeds, output_dir, report_only, rows, labelled, jobs, fast, smoke, reference
            )
        )
    else:
        known = ", ".join([*SCENARIOS, *unseen_rows.SCENARIOS])
        raise InputError(f"scenario: expected one of {known}, found {scenario!r}")


def kernels(*, repeats: int = 20) -> None:
    """Time network kernels against their equal alternatives (forward and backward, one thread, batch 4).

    Args:
        repeats: timed calls of each; the median counts.
    """
    from shared_components.benchmarks.component_speed import time_kernels

    time_kernels(repeats)


def slices(data_root: str, *, accesses: int = 200) -> None:
    """Time slice access with and without the cache, on a client data root.

    Args:
        data_root: the data root.
        accesses: random slices that are read.
    """
    from shared_components.benchmarks.component_speed import time_slices

    time_slices(data_root, accesses)


def real_head(
    ckpt_path: str | None = None,
    *,
    output_dir: str = "outputs/benchmark/real_head",
    bundle: str | Sequence[str] = ("adaptation", "segmentation"),
) -> None:
    """Segment the shipped head, untouched, a 1 mm LPS oblique copy, and one with air around; print the brain's Dice.

    Runs the bundles' own inference and evaluate configs, as anyone would.

    Args:
        ckpt_path: a model of T1 heads of the adaptation bundle (or of the one named by --bundle), such as
            outputs/heads/clients/north/source_model/model.pt; without it the demo weights.
        output_dir: folder of the copies, segmentations and scores.
        bundle: whose demo weights.
    """
    from shared_components.benchmarks.inference import segment_real_head

    bundles = [bundle] if isinstance(bundle, str) else bundle[: 1 if ckpt_path else None]
    for name in bundles:
        print(*segment_real_head(ckpt_path, output_dir, name), sep="\n")


def meta_step(
    *, size: int = 96, batch: int = 4, repeats: int = 5, threads: int = 2, memory: bool = True
) -> None:
    """Time the segmentation bundle's meta-learning update at published widths, against its textbook form.

    Args:
        size: height and width of a slice, pixels.
        batch: slices in each half of an episode.
        repeats: timed updates of each form, in turns; the median counts.
        threads: of torch.
        memory: measure the peak as well, in a fresh process for each form.
    """
    from shared_components.benchmarks.component_speed import meta_step as time_meta_step

    time_meta_step(size, batch, repeats, threads, memory)


def factory_speed(
    *, sizes: int | Sequence[int] = (64, 128, 256), batch: int = 4, repeats: int = 2, threads: int = 2
) -> None:
    """Time a full update of the factory at published widths, against its textbook form: seconds, peak memory.

    Args:
        sizes: heights and widths of a slice, pixels.
        batch: slices of an update.
        repeats: timed updates of each kind and form, in turns; the fastest counts.
        threads: of torch.
    """
    from shared_components.benchmarks.factory_speed import factory_speed as time_factory

    print(time_factory([sizes] if isinstance(sizes, int) else list(sizes), batch, repeats, threads))


def factory(
    scenario: str = "spine",
    *,
    output_dir: str = "outputs/benchmark",
    rows: str | Sequence[str] | None = None,
    updates: int = 1200,
    size: int = 64,
    seed: int = 0,
    report_only: bool = False,
    smoke: bool = False,
) -> None:
    """Train the factory together in every way: what is exchanged, how often, how it is averaged; quality against cost.

    Args:
        scenario: spine (six real hospitals) or head (phantoms).
        output_dir: runs go into <output_dir>/factory/<scenario>, with their table; what is there is kept.
        rows: ways, by their keys in shared_components/benchmarks/factory_rows.py; all by default.
        updates: of every client, in total.
        size: height and width of a slice, pixels.
        seed: of phantoms and training.
        report_only: print the table of the runs that are there.
        smoke: at the smallest size, to try it.
    """
    from shared_components.benchmarks.factory_choices import factory_choices

    print(factory_choices(scenario, output_dir, rows, updates, size, seed, report_only, smoke))


def inference(
    *,
    volumes: int = 100,
    shape: Sequence[int] = (256, 256, 32),
    output_dir: str = "outputs/benchmark",
    threads: int = 1,
    ckpt_path: str | None = None,
    turns: int = 1,
) -> None:
    """Segment volumes with the adaptation bundle and with the zoo's stock pattern: volumes a minute, peak memory.

    Args:
        volumes: how many.
        shape: voxels of each, such as 256,256,32.
        output_dir: the volumes and segmentations go into <output_dir>/inference, with the table, inference.md.
        threads: of torch.
        ckpt_path: a model of the adaptation bundle; by default its network as it is initialised.
        turns: times that both are run, in turns; the fastest of each counts.
    """
    from shared_components.benchmarks.inference import inference_benchmark

    print(inference_benchmark(volumes, tuple(shape), output_dir, threads, ckpt_path, turns))


def faults(
    *,
    output_dir: str = "outputs/benchmark",
    seed: int = 0,
    part: str = "all",
    engines: str | Sequence[str] = ("local", "nvflare", "certificates"),
    only: str | Sequence[str] = (),
    count: int | None = None,
) -> None:
    """Break the smallest study and federation in every way that takes minutes: kill -9, damaged files, full disks.

    Prints what survived, what was lost and what was told, and ends with code 1 if anything was lost. A full disk is
    tried as root alone.

    Args:
        output_dir: the runs go into <output_dir>/faults, with the table, faults.md.
        seed: of the moments and places in the study.
        part: study, federation or all.
        engines: of the federation: local, nvflare (its simulator), certificates (NVFlare with a process for each site).
        only: some of the faults; the others' rows stay in the table as they were last seen. The federation has
            clients, sites, coordinator, model, state, disk, the study kills, two, together, damage, full.
        count: of the study's kills and kinds of damaged files, at most; all by default.
    """
    from shared_components.benchmarks.faults import PARTS, inject_faults

    parts = PARTS if part == "all" else (part,)
    table, whole = inject_faults(output_dir, seed, parts, names(engines), names(only), count)
    print(table)
    if not whole:
        raise SystemExit(1)


def malicious(*, output_dir: str = "outputs/benchmark", smoke: bool = False) -> None:
    """Train a federation of four, one of them malicious, by every robust aggregator: how much worse the loss ends.

    Args:
        output_dir: phantoms and states go into <output_dir>/malicious, with the table, malicious.md.
        smoke: at the smallest size, to try it; in <output_dir>/malicious_smoke.
    """
    from shared_components.benchmarks.malicious import malicious_benchmark

    print(malicious_benchmark(output_dir, smoke))


def federation(
    *,
    output_dir: str = "outputs/benchmark",
    clients: int | Sequence[int] = (3, 8),
    engines: str | Sequence[str] = ("local", "nvflare"),
    smoke: bool = False,
) -> None:
    """Run the factory at 64 px on each engine: overhead of a round, bytes of a client, memory of all processes.

    Args:
        output_dir: phantoms and runs go into <output_dir>/federation, with the table, federation.md.
        clients: numbers of clients.
        engines: of local and nvflare.
        smoke: at the smallest size, to try it; in <output_dir>/federation_smoke.
    """
    from shared_components.benchmarks.federation_cost import federation_benchmark

    numbers = [clients] if isinstance(clients, int) else list(clients)
    print(federation_benchmark(output_dir, numbers, names(engines), smoke))


def privacy(
    factory: str,
    *data_roots: str,
    output_dir: str = "outputs/benchmark/privacy",
    drawn: int = 400,
    seed: int = 0,
    percentiles: Sequence[float] = (0.5, 99.5),
    min_foreground: float = 0.02,
    slices_per_volume: int | None = None,
) -> None:
    """Tell what a factory gives away of its clients' images, and how well it draws them.

    Generated slices are compared with training and with held-out slices (validation and test): copies, a membership
    attack, distances, density, coverage. Pictures of the nearest pairs show real images: they are for their client.

    Args:
        factory: a factory file, such as outputs/quickstart/factory/factory.pt.
        data_roots: of the clients that trained it.
        output_dir: privacy.md and privacy.csv, and a folder for each data root.
        drawn: slices to draw of each domain.
        seed: of everything random.
        percentiles: intensities of a volume that become -1 and 1, as in the factory's training.
        min_foreground: share of a slice above air below which the factory was not trained on it.
        slices_per_volume: as in the factory's training; all by default.
    """
    from shared_components.benchmarks.privacy import privacy_benchmark

    settings = {"percentiles": percentiles, "min_foreground": min_foreground}
    settings |= {"slices_per_volume": slices_per_volume, "drawn": drawn, "seed": seed}
    print(privacy_benchmark(factory, data_roots, output_dir, settings))


COMMANDS: dict[str, Callable[..., None]] = {
    "quality": quality,
    "kernels": kernels,
    "slices": slices,
    "real-head": real_head,
    "meta-step": meta_step,
    "factory": factory,
    "factory-speed": factory_speed,
    "inference": inference,
    "faults": faults,
    "malicious": malicious,
    "federation": federation,
    "privacy": privacy,
}

if __name__ == "__main__":
    run_command_line(COMMANDS)
