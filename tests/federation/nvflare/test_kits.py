from __future__ import annotations

import json
import shutil
import socket

import pytest
import yaml

from shared_components.benchmarks.faulty_study import wait_until
from shared_components.errors import InputError
from tests.federation.tiny import federation, file_values

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.kits import (
    ADMIN,
    PORTS,
    check_site,
    free_port,
    is_free,
    join,
    provision,
    site_of,
    started,
    user_of,
    write_project,
    write_template,
)
from shared_components.federation.nvflare.places import VARIABLE


@pytest.fixture(scope="module")
def whole(roots, tmp_path_factory):
    return federation(file_values(roots, tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def kits(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kits")
    return provision(write_project(whole, folder, "localhost", 18999, guests=["guest", "ward-a"]), folder)


def test_everybody_gets_a_kit_with_certificates(kits):
    assert {kit.name for kit in kits.iterdir()} == {
        "localhost",
        "island",
        "north",
        "south",
        "guest",
        "ward-a",
        ADMIN,
    }
    assert user_of(kits / ADMIN) == ADMIN and site_of(kits / "north") == "north"
    for kit in kits.iterdir():
        assert (kit / "startup" / "rootCA.pem").is_file() and list((kit / "startup").glob("*.key"))
    server = json.loads((kits / "north" / "startup" / "fed_client.json").read_text())["servers"][0]
    assert server["service"]["target"] == "localhost:18999"


def test_a_project_with_two_of_one_name_or_without_a_port_is_refused(whole, tmp_path):
    with pytest.raises(InputError, match="client north: has the name of the server"):
        write_project(whole, tmp_path, "north")
    with pytest.raises(InputError, match="--port: expected a whole number from 1 to 65535, found 99999"):
        write_project(whole, tmp_path, "localhost", 99999)


@pytest.mark.parametrize(("who", "read"), [("north", user_of), (ADMIN, site_of)])
def test_another_kit_is_one_line(kits, who, read):
    with pytest.raises(InputError, match=r"expected a.*startup kit, with startup/fed_"):
        read(kits / who)


def test_a_project_that_nvflare_refuses_is_one_line(tmp_path):
    file = tmp_path / "project.yml"
    file.write_text("api_version: 3\nname: x\n")
    with pytest.raises(InputError, match=r"project.yml: NVFlare made no startup kits of it"):
        provision(file, tmp_path / "kits")


def test_an_engineer_fills_in_a_template_and_has_it_checked(whole, roots, kits, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    kit = kits / "north"
    file = write_template(kit)
    assert file == kit / "local" / "fedfoundry.yaml" and yaml.safe_load(file.read_text()) == {
        "data_root": None
    }
    assert write_template(kit) is None
    with pytest.raises(InputError, match="'data_root' is missing"):
        check_site(kit)
    file.write_text(file.read_text().replace("data_root:", f"data_root: {roots['north']}"))
    assert check_site(kit, whole).startswith("north: ready, with 3 training images; start NVFlare with ")
    file.write_text(f"data_root: {roots['south']}\n")
    with pytest.raises(InputError, match=r"1 problem in this site's data\n.*dataset.json.*t2.*t1"):
        check_site(kit, whole)
    file.write_text(f"data_root: [{roots['south']}, {roots['north']}]\n")
    assert "7 training images" in check_site(kit)


def test_a_site_that_trains_nothing_needs_data_of_another_domain(whole, roots, kits, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    kit, root = kits / "guest", shutil.copytree(roots["north"], tmp_path / "d")
    (kit / "local" / "fedfoundry.yaml").write_text(f"data_root: {root}\n")
    with pytest.raises(InputError, match="this kit's site is no client of tiny"):
        check_site(kit, whole)
    with pytest.raises(InputError, match=r"1 problem in this site's data\n.*'t1' is one of the federation's"):
        check_site(kit, whole, ["guest"])
    file = root / "dataset.json"
    content = json.loads(file.read_text()) | {"domain": "d"}
    content["test"], content["training"] = content["training"], []
    file.write_text(json.dumps(content))
    assert check_site(kit, whole, ["guest"]).startswith(
        "guest: ready, takes part in no training; start NVFlare"
    )


def test_a_server_keeps_its_jobs_to_itself(kits):
    assert "ready; start NVFlare with" in join(kits / "localhost")
    values = json.loads((kits / "localhost" / "local" / "resources.json").read_text())
    components = {component["id"]: component.get("args", {}) for component in values["components"]}
    own = str(kits.absolute() / "localhost")
    assert components["job_manager"]["uri_root"] == f"{own}/jobs-storage"
    assert values["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"] == f"{own}/snapshot-storage"
    assert "/tmp/nvflare" not in json.dumps(values) and values["servers"][0]["admin_timeout"] == 60


def test_no_clients_log_goes_to_the_server(kits, tmp_path):
    file = kits / "north" / "local" / "resources.json.default"
    assert json.loads(file.read_text())["allow_log_streaming"] is False
    kit = shutil.copytree(kits / "south", tmp_path / "south")
    assert "fill it in, then run this command again" in join(kit)
    own = kit / "local" / "resources.json"  # which NVFlare reads in the place of the other
    own.write_text(json.dumps({**json.loads(file.read_text()), "allow_log_streaming": True}))
    with pytest.raises(
        InputError, match=r"resources.json: expected \"allow_log_streaming\": false, found true"
    ):
        join(kit)
    own.write_text("{")
    with pytest.raises(InputError, match="expected what NVFlare has provisioned, found none"):
        join(kit)


def test_a_free_port_is_one_that_nobody_listens_at():
    port = free_port()
    assert port in PORTS and is_free(port)
    with socket.socket() as listener:
        listener.bind(("localhost", port))
        listener.listen()
        assert not is_free(port)


def test_a_rehearsals_server_waits_briefly_for_a_site_that_is_gone_for_good(tmp_path):
    """NVFlare's 15 minutes would hold the whole job up when its rounds are done."""
    place = tmp_path / "kit" / "startup"
    place.mkdir(parents=True)
    (place / "sub_start.sh").write_text(f'echo "$NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT" > {tmp_path}/waits\n')
    with started([tmp_path / "kit"], tmp_path):
        assert wait_until(lambda: (tmp_path / "waits").is_file() and (tmp_path / "waits").read_text(), 60)
    assert (tmp_path / "waits").read_text() == "20\n"
