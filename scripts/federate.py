"""Train one bundle at several clients together: ``python scripts/federate.py COMMAND …``; ``-h`` lists them all.

A federation file (YAML) names the bundle, the domains, the clients with their data roots, and the rounds; see
``shared_components/federation/federation.py`` for every key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared_components.command_line import run as run_command_line
from shared_components.errors import counted

if TYPE_CHECKING:
    from pathlib import Path

    from shared_components.federation.federation import Federation
    from shared_components.federation.nvflare.job import JobKind
    from shared_components.federation.statistics.site import Asked


def init(
    file: str, *roots: str, name: str | None = None, orientation: str = "RAS", force: bool = False
) -> None:
    """Write a federation file for data roots on this machine, one client each, to be edited.

    All images are looked at: the file's image_size and spacing take them in.

    Args:
        file: to write, such as federation.yaml.
        roots: data roots, each with a dataset.json (prepare_data.py make-datalist writes it).
        name: of the federation, and of its output folder; by default the file's without its ending.
        orientation: axis codes of the slices whose last letter is the axis across them; native for the files' own axes.
        force: replace the file if it is there.
    """
    from shlex import quote

    from shared_components.study.new_federation import new_federation

    named = None if name is None else str(name)
    print(new_federation(str(file), [str(root) for root in roots], named, str(orientation), force))
    print(f"wrote {file}; next: python scripts/federate.py check {quote(str(file))}")


def check(file: str, *, trust: bool = False) -> None:
    """Check a federation file, every client's data and every stage, and print all problems that are found.

    First come those of the file, then those of its overrides and study, of all data, and of what cannot be built; what
    one of these finds is to be mended before the next is looked at.
    Beside reading all images, it builds what each client and each stage of the study would build, and tries a few
    updates on noise: the bundles' configs and the overrides of the file run for that. Nothing is written.

    Args:
        file: the federation file.
        trust: you have read the file, and its expressions, components and bundles may run; without it a file that has
            any, or names a bundle from elsewhere than bundles/, is refused.
    """
    from shared_components.federation.data_check import check_clients
    from shared_components.federation.federation_file import read_federation
    from shared_components.study.plan import check_settings, plan
    from shared_components.study.roles import unseen_data

    federation = read_federation(str(file), trusted=trust)
    check_settings(federation)
    check_clients(federation, unseen_data(federation))
    print(plan(federation))
    print(
        f"{federation.name}: {counted(len(federation.clients), 'client')} ready: {', '.join(federation.clients)}"
    )


def stats(
    file: str,
    *,
    output_dir: str | None = None,
    minimum: int = 3,
    bins: int = 32,
    engine: str | None = None,
    startup_kit: str | None = None,
    timeout: float | None = None,
    trust: bool = False,
) -> None:
    """What the clients have: counts, voxel sizes, intensities and label volumes, as a table, files and a page.

    Every client looks at its own images; what stands for too few patients is withheld there.

    Args:
        file: the federation file.
        output_dir: folder to write into; by default statistics in the federation's output folder.
        minimum: patients that a number must stand for.
        bins: of the histogram of intensities, scaled as the bundle scales them.
        engine: local, nvflare (its workflow for statistics, through its simulator) or poc (NVFlare's server and
            clients on this machine, with certificates); replaces the file's.
        startup_kit: the administrator's, as provisioned: ask the sites that run NVFlare; the file's clients need no
            data_root then.
        timeout: seconds that a client may look at its images; then it has failed.
        trust: you have read the file, and its expressions, components and bundles may run; without it a file that has
            any, or names a bundle from elsewhere than bundles/, is refused.
    """
    from pathlib import Path

    from shared_components.errors import InputError
    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.statistics.merged import merged, table
    from shared_components.federation.statistics.page import write_statistics, write_statistics_report
    from shared_components.federation.statistics.site import asked

    poc, elsewhere = engine == "poc", startup_kit is not None
    engine = "nvflare" if poc or elsewhere else engine
    federation = read_federation(str(file), engine=engine, trusted=trust, elsewhere=elsewhere)
    wanted = asked(federation, minimum, bins)
    sites = _gathered(federation, wanted, timeout, poc, startup_kit)
    print(table(merged(sites), wanted.reading.looked_up), flush=True)
    folder = Path(output_dir or Path(federation.output_dir) / "statistics")
    for path in (*write_statistics(folder, federation.name, wanted, sites), write_statistics_report(folder)):
        print(path)
    failed = [name for name, site in sites.items() if "failure" in site]
    if failed:
        raise InputError(f"{federation.name}: no statistics of {', '.join(failed)}; the reasons stand above")


def run(
    file: str,
    *,
    resume: bool = False,
    force: bool = False,
    rounds: int | None = None,
    output_dir: str | None = None,
    engine: str | None = None,
    check: bool = True,
) -> None:
    """Train the bundle of a federation file at all clients together.

    Args:
        file: the federation file.
        resume: go on with the run in the output folder from its last whole round.
        force: throw away the run in the output folder and start over.
        rounds: replaces the file's rounds.
        output_dir: replaces the file's output folder.
        engine: local or nvflare (on this machine, through its simulator); replaces the file's.
        check: check the settings and every client's data first (--nocheck to skip it).
    """
    from shared_components.federation.data_check import check_clients
    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.local import make_engine
    from shared_components.study.plan import check_settings, plan

    federation = read_federation(str(file), rounds=rounds, output_dir=output_dir, engine=engine)
    runner = make_engine(federation)
    if check:
        check_settings(federation)
        check_clients(federation)
        plan(federation, study=False)
    print(f"{federation.name}: written to {runner.run(resume=resume, force=force)}")


def study(
    file: str,
    *,
    resume: bool = False,
    force: bool = False,
    rounds: int | None = None,
    output_dir: str | None = None,
    seed: int | None = None,
    engine: str | None = None,
    check: bool = True,
) -> None:
    """The whole flow: the factory, then each client's own stages by the labels it has, scores and report.

    Args:
        file: the federation file, with a `study` section (see shared_components/study/study.py).
        resume: go on with the study in the output folder; finished stages are kept unless what they depend on
            has changed.
        force: throw away the study in the output folder and start over.
        rounds: replaces the file's rounds.
        output_dir: replaces the file's output folder.
        seed: replaces the file's seed.
        engine: local, nvflare (on this machine, through its simulator, each site in a folder of its own) or poc
            (NVFlare's server and clients on this machine, with certificates); replaces the file's.
        check: check the settings and every client's data first (--nocheck to skip it).
    """
    from shared_components.federation.data_check import check_clients
    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.nvflare import require_nvflare
    from shared_components.study.plan import check_settings, plan
    from shared_components.study.roles import unseen_data
    from shared_components.study.runner import run_study
    from shared_components.study.summary import study_summary

    poc = engine == "poc"
    engine = "nvflare" if poc else engine
    federation = read_federation(str(file), rounds=rounds, output_dir=output_dir, seed=seed, engine=engine)
    if check:
        check_settings(federation)
        check_clients(federation, unseen_data(federation))
        print(plan(federation, study=True))
    if poc:
        require_nvflare()
        from shared_components.federation.nvflare.poc import ProofOfConcept

        ProofOfConcept(federation, kind=_kind(federation, study=True)).run(resume, force)
    else:
        run_study(federation, resume=resume, force=force)
    print(study_summary(federation.output_dir))


def status(run_dir: str) -> None:
    """Show how far a run or a study is.

    Args:
        run_dir: the output folder.
    """
    from shared_components.federation.status import run_status
    from shared_components.study.summary import study_status

    print(study_status(str(run_dir)) or run_status(str(run_dir)))


def poc(
    file: str,
    *,
    resume: bool = False,
    force: bool = False,
    rounds: int | None = None,
    output_dir: str | None = None,
    study: bool | None = None,
    check: bool = True,
) -> None:
    """Rehearse a federation of real sites: NVFlare's server and clients on this machine, with certificates.

    Each is a process of its own with a startup kit of its own, the job is exported and submitted, and no data root is
    in it; all of them end with this command.

    Args:
        file: the federation file.
        resume: go on from the last whole round and with the stages still to do, with the kits in the output folder.
        force: throw away the run in the output folder, kits included.
        rounds: replaces the file's rounds.
        output_dir: replaces the file's output folder.
        study: the whole study (--study), or the federated training alone (--nostudy); by default a study if the file
            has a section of that name.
        check: check the settings first (--nocheck to skip it); each site checks its own data in any case.
    """
    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.nvflare import require_nvflare

    federation = read_federation(str(file), rounds=rounds, output_dir=output_dir, engine="nvflare")
    require_nvflare()
    from shared_components.federation.nvflare.poc import ProofOfConcept

    if check:
        _check_settings(federation)
    whole = _is_study(federation, study)
    _tell_end(federation, whole, ProofOfConcept(federation, kind=_kind(federation, whole)).run(resume, force))


def export(
    file: str,
    *,
    output_dir: str,
    server: str = "localhost",
    port: int = 8002,
    study: bool | None = None,
    check: bool = True,
) -> None:
    """Write a federation as a job of NVFlare, which an administrator submits, and the project for its startup kits.

    The job holds the bundles, the code and the federation, and no data path of any site; its project.yml is for
    `nvflare provision`.

    Args:
        file: the federation file; its clients need no data_root.
        output_dir: folder to write into.
        server: host name under which the clients reach the server.
        port: at which they do.
        study: the whole study (--study), or the federated training alone (--nostudy); by default a study if the file
            has a section of that name.
        check: check the settings first (--nocheck to skip it).
    """
    from pathlib import Path

    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.nvflare import require_nvflare

    federation = read_federation(str(file), engine="nvflare", elsewhere=True)
    require_nvflare()
    from shared_components.federation.nvflare.kits import write_project

    if check:
        _check_settings(federation)
    kind = _kind(federation, _is_study(federation, study))
    print(kind.write(federation, Path(output_dir), resume=True))
    print(write_project(federation, Path(output_dir), server, port, list(kind.guests)))


def submit(
    file: str,
    *,
    startup_kit: str,
    resume: bool = False,
    force: bool = False,
    rounds: int | None = None,
    output_dir: str | None = None,
    job: str | None = None,
    study: bool | None = None,
    check: bool = True,
) -> None:
    """Submit a federation to sites that run NVFlare, follow it, and fetch its result into the output folder.

    Ctrl-C asks whether to leave the job running.

    Args:
        file: the federation file; its clients need no data_root.
        startup_kit: the administrator's, as provisioned.
        resume: go on with the run that the server has of this federation, from its last whole round and with the
            stages still to do.
        force: throw away the run that the server has, and the one in the output folder.
        rounds: replaces the file's rounds.
        output_dir: replaces the file's output folder.
        job: follow this job, which was submitted before, and fetch its result.
        study: the whole study (--study), or the federated training alone (--nostudy); by default a study if the file
            has a section of that name.
        check: check the settings first (--nocheck to skip it); each site checks its own data in any case.
    """
    from pathlib import Path

    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.nvflare import require_nvflare

    federation = read_federation(
        str(file), rounds=rounds, output_dir=output_dir, engine="nvflare", elsewhere=True
    )
    require_nvflare()
    from shared_components.federation.nvflare.submission import Submission, ask_whether_to_leave

    if check and job is None:
        _check_settings(federation)
    whole = _is_study(federation, study)
    submission = Submission(federation, Path(startup_kit), kind=_kind(federation, whole))
    leave = ask_whether_to_leave(file, startup_kit)
    _tell_end(federation, whole, submission.run(resume, force, job, leave))


def join(startup_kit: str, *, file: str | None = None) -> None:
    """Let this machine be a site: write its site file to be filled in, or check it and the data that it names.

    With a server's startup kit, let this machine be the server: jobs are kept in the kit.

    Args:
        startup_kit: this machine's, as provisioned.
        file: the federation file, to check the data against its domains and labels.
    """
    from pathlib import Path

    from shared_components.federation.federation_file import read_federation
    from shared_components.federation.nvflare.kits import join as join_with
    from shared_components.study.roles import unseen_names

    federation = None if file is None else read_federation(str(file), engine="nvflare", elsewhere=True)
    guests = () if federation is None else unseen_names(federation)
    print(join_with(Path(startup_kit), federation, guests))


def _is_study(federation: Federation, asked: bool | None) -> bool:
    """Whether a job is for the whole study: if so asked, by default if the file has a section ``study``."""
    return bool(federation.study) if asked is None else asked


def _gathered(
    federation: Federation, wanted: Asked, timeout: float | None, poc: bool, startup_kit: str | None
) -> dict[str, dict[str, Any]]:
    """What every client tells of its images, in whichever way they are reached."""
    from pathlib import Path

    from shared_components.federation.nvflare import require_nvflare
    from shared_components.federation.statistics.site import local_statistics

    if federation.engine == "local":
        return local_statistics(federation, wanted, timeout)
    require_nvflare()
    from shared_components.federation.nvflare import statistics

    if startup_kit is not None:
        return statistics.submitted_statistics(federation, wanted, Path(startup_kit), timeout)
    gathered = statistics.rehearsed_statistics if poc else statistics.simulated_statistics
    return gathered(federation, wanted, timeout)


def _kind(federation: Federation, study: bool) -> JobKind:
    """What a federation is submitted for."""
    from shared_components.federation.nvflare.job import JobKind
    from shared_components.study.nvflare.controller import study_kind

    return study_kind(federation) if study else JobKind()


def _tell_end(federation: Federation, study: bool, folder: Path) -> None:
    """The last lines of a job: where its result lies, of a study all that is in it."""
    from shared_components.study.summary import study_summary

    print(study_summary(folder) if study else f"{federation.name}: written to {folder}")


def _check_settings(federation: Federation) -> None:
    from shared_components.study.plan import check_settings

    check_settings(federation)


COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "check": check,
    "stats": stats,
    "run": run,
    "study": study,
    "status": status,
    "poc": poc,
    "export": export,
    "submit": submit,
    "join": join,
}

if __name__ == "__main__":
    run_command_line(COMMANDS)
