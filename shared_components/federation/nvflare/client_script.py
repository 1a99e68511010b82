"""What NVFlare runs at each site for a job: receive a task, let the site do it, send the answer."""

from __future__ import annotations

from pathlib import Path


def main() -> None:
    """Answer tasks until the job ends."""
    import nvflare.client as flare
    from nvflare.apis.fl_constant import FLMetaKey
    from nvflare.apis.job_launcher_spec import JobReturnCode

    from shared_components.federation.nvflare.message import read_message
    from shared_components.federation.nvflare.site_client import SiteClient

    custom = Path(__file__).resolve().parents[3]
    job, kit = custom.parents[1], custom.parents[2]
    # Should this process be killed, the site reports nothing, and the job goes on without it; NVFlare would else end
    # the job for everybody. The coordinator notices by itself.
    (job / FLMetaKey.PROCESS_RC_FILE).write_text(str(JobReturnCode.UNKNOWN))
    flare.init()
    with SiteClient(custom, kit, flare.get_site_name()) as site:
        while flare.is_running():
            model = flare.receive()
            if model is None:
                return
            flare.send(site.answer(flare.get_task_name(), read_message(model)).model())


if __name__ == "__main__":
    main()
