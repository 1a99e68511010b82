from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation import FedAvg
from shared_components.federation.federation_file import federation_from, read_federation
from shared_components.study.settings import setting_faults
from tests.federation.tiny import TINY_BUNDLE, federation, write_file


@pytest.mark.parametrize("part", ["clients/north", "sites/north", "factory", "unseen/x"])
def test_data_are_not_where_runs_write_and_remove(values, tmp_path, part):
    """A run that begins anew removes what lies there."""
    root = tmp_path / "out" / part
    shutil.copytree(values["clients"]["north"]["data_root"], root)
    link = tmp_path / "link"
    link.symlink_to(root)
    for place in (root, link):
        clients = values["clients"] | {"north": {"data_root": str(place), "domain": "t1"}}
        with pytest.raises(
            InputError, match=r"client 'north': its data root .* lies where runs write, and remove"
        ):
            federation(values, clients=clients, output_dir=str(tmp_path / "out"))
    beside = tmp_path / "out" / "data" / "north"
    shutil.copytree(root, beside)
    clients = values["clients"] | {"north": {"data_root": str(beside), "domain": "t1"}}
    assert federation(values, clients=clients, output_dir=str(tmp_path / "out")).clients["north"].data_roots


def test_a_bundle_is_not_called_as_a_file_of_every_run(values, tmp_path):
    shutil.copytree(values["bundle"], tmp_path / "global")
    with pytest.raises(InputError, match="'bundle' is a folder called global, as a file of every run is"):
        federation(values, bundle=str(tmp_path / "global"))


def test_defaults_are_filled_in(values, tmp_path):
    for key in ("workers", "seed", "name"):
        del values[key]
    read = read_federation(write_file(tmp_path / "brains.yaml", values))
    assert read.name == "brains" and read.seed == 0
    assert read.clients_per_round == 3 and read.workers == 3 and read.threads_per_worker == 1
    assert read.configs == ("common.yaml", "train.yaml") and read.engine == "local"
    assert list(read.clients) == ["island", "north", "south"]
    assert read.labels == {0: "background", 1: "brain"}
    assert isinstance(read.make_aggregator(), FedAvg)


def test_resolved_file_reads_back_the_same(values, tmp_path):
    read = federation(values, overrides={"learning_rate": "$0.1 * 2", "kill::epoch": 2}, study={"a": "@b"})
    (tmp_path / "resolved.yaml").write_text(read.as_yaml())
    assert read_federation(tmp_path / "resolved.yaml") == read
    assert read.overrides["learning_rate"] == "$0.1 * 2" and read.study == {"a": "@b"}


def test_command_line_values(values, tmp_path):
    file = write_file(tmp_path / "f.yaml", values)
    read = read_federation(file, rounds=4, output_dir=tmp_path / "other")
    assert read.rounds == 4 and read.output_dir == str(tmp_path / "other")


def test_relative_paths(values, tmp_path, monkeypatch):
    folder, here = tmp_path / "file", tmp_path / "here"
    for place in (folder / "beside", here / "beside", here / "elsewhere"):
        place.mkdir(parents=True)
    monkeypatch.chdir(here)
    clients = {"a": {"data_root": "beside", "domain": "t1"}, "b": {"data_root": "elsewhere", "domain": "t2"}}
    read = read_federation(write_file(folder / "f.yaml", values, clients=clients, output_dir="out"))
    assert read.clients["a"].data_root == str(folder / "beside")
    assert read.clients["b"].data_root == str(here / "elsewhere")
    assert read.output_dir == str(here / "out")


@pytest.mark.parametrize("beneath", ["", "/runs/one"])
def test_a_file_where_the_output_folder_should_be_is_named(values, tmp_path, beneath):
    taken = write_file(tmp_path / "taken", values)
    with pytest.raises(InputError, match=rf"'output_dir': expected a folder, .*, found {taken}, a file$"):
        federation(values, output_dir=f"{taken}{beneath}")


def test_clients_overrides(values, roots):
    one = federation(values, overrides={"learning_rate": 0.5}).client_overrides("south")
    assert one["dataset_dir"] == str(roots["south"]) and one["seed"] == 5 + 2
    assert one["epoch_length"] == 3 and one["max_epochs"] == 3 and one["learning_rate"] == 0.5
    assert one["domains"] == ["t1", "t2", "pet"] and one["bundle_root"] == str(TINY_BUNDLE)
    assert one["output_dir"].endswith("run/clients/south") and one["export_path"].endswith(
        "run/tiny_bundle.pt"
    )
    assert "labels" not in federation(values, labels=None).client_overrides("south")


def test_a_client_may_have_several_data_roots(values, roots, tmp_path):
    two = [str(roots["north"]), str(roots["south"])]
    clients = {
        "both": {"data_root": two, "domain": ["t1", "t2"]},
        "one": {"data_root": [str(roots["island"])], "domain": ["pet"]},
    }
    read = federation(values, clients=clients)
    assert read.clients["both"].domains == ("t1", "t2")
    same = federation(values, clients={"same": {"data_root": two, "domain": "t1"}})
    assert same.clients["same"].domains == ("t1", "t1")
    assert read.client_overrides("both")["dataset_dir"] == two
    assert read.client_overrides("one")["dataset_dir"] == str(roots["island"])
    (tmp_path / "resolved.yaml").write_text(read.as_yaml())
    assert read_federation(tmp_path / "resolved.yaml") == read


def test_places_of_what_is_exported(values):
    personal = {"_target_": "shared_components.federation.FedBN"}
    shared, own = federation(values), federation(values, aggregator=personal)
    assert shared.client_export_path("south") == shared.export_path
    assert own.client_overrides("south")["export_path"].endswith("run/clients/south/tiny_bundle.pt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"round": 3}, r"tiny.yaml: key 'round' is unknown \(did you mean 'rounds'\?\)"),
        ({"bundle": None}, "'bundle' is missing"),
        ({"clients": {}}, "'clients' is missing"),
        ({"domains": []}, "'domains' is missing"),
        ({"rounds": 0}, "'rounds' must be a whole number from 1 up, found 0"),
        ({"rounds": True}, "'rounds' must be a whole number"),
        ({"updates_per_round": 2.5}, "'updates_per_round' must be a whole number"),
        ({"seed": -1}, "'seed' must be a whole number from 0 up"),
        ({"workers": "many"}, "'workers' must be a whole number from 0 up"),
        ({"clients_per_round": 4}, "'clients_per_round' is 4, but there are 3 clients"),
        ({"clients_per_round": "most"}, "'clients_per_round' must be a whole number"),
        ({"engine": "locl"}, "did you mean 'local'"),
        ({"domains": ["t1", "t2", "pet", "t1"]}, "'domains' names one twice"),
        ({"labels": ["brain"]}, "'labels' must map whole numbers to names"),
        (
            {"labels": {0: "air", 2: "brain"}},
            "'labels': expected the values 0 to 1, found 0, 2; count from 0",
        ),
        ({"labels": {0: "air", "00": "brain"}}, "'labels': expected the values 0 to 1, found 0, 00"),
        ({"labels": {0: "air", 1: "$1"}}, r"'labels': 1: expected a text, found the expression '\$1'"),
        ({"rounds": "$2 * 3"}, r"'rounds' must be a whole number from 1 up, found '\$2 \* 3'"),
        ({"rounds": 10**9}, "'rounds' must be a whole number from 1 to 1000000, found 1000000000"),
        ({"seed": 2**31}, "'seed' must be a whole number from 0 to 2147483647"),
        (
            {"name": "$print(1)"},
            r"'name': expected a text, found the expression '\$print\(1\)'; these are for",
        ),
        ({"domains": ["t1", "d" * 5000]}, "'domains': expected a name of at most 100 letters, found 5000"),
        ({"name": "n" * 101}, "'name': expected a name of at most 100 letters, found 101"),
        ({"name": "two\nlines"}, r"'name': expected one line, found 'two\\nlines'"),
        ({"overrides": []}, r"'overrides' must hold 'key: value' lines, found \[\]"),
        ({"domains": ["t1", "@seed"]}, "'domains': expected a text, found the expression '@seed'"),
        ({"domains": ["t1", False]}, "'domains': expected a text, found False; write it in quotes"),
        ({"bundle": ["a", "b"]}, r"'bundle': expected one text, found \['a', 'b'\]"),
        ({"bundle": "b" * 300}, r"'bundle': expected a path of at most 4000 letters, 255 for each folder"),
        ({"output_dir": {"a": 1}}, r"'output_dir': expected a text, found {'a': 1}"),
        ({"output_dir": "a/" * 2500}, r"'output_dir': expected a path of at most 4000 letters"),
        ({"overrides": {"": 1}}, "overrides: '' is no id of the bundle's config"),
        ({"bundle": "nowhere"}, "has no configs/common.yaml"),
        ({"configs": ["common.yaml", "trian.yaml"]}, "has no configs/trian.yaml"),
        (
            {"configs": ["common.yaml"]},
            r"'configs' \[common\.yaml\] make no training, they have no train#trainer",
        ),
        ({"aggregator": {"momentum": 1}}, "'aggregator' has no '_target_'"),
        ({"aggregator": {"_target_": "shared_components.federation.FedAgv"}}, "'aggregator' cannot be made"),
        (
            {"aggregator": {"_target_": "shared_components.federation.FedProx", "mu": -1}},
            "'mu' must be a number from 0 up, found -1",
        ),
        (
            {"aggregator": {"_target_": "shared_components.federation.FedAvgM", "momentu": 0.7}},
            r"aggregator: 'momentu' is no argument of FedAvgM \(did you mean 'momentum'\?\)",
        ),
        ({"aggregator": "FedAvg"}, "'aggregator' must hold 'key: value' lines"),
        (
            {"overrides": {"learning_rat": 1}},
            r"overrides: 'learning_rat' .* \(did you mean 'learning_rate'\?\)",
        ),
        ({"overrides": {"train::trainer::epochs": 1}}, "'train::trainer::epochs' is no id"),
        ({"overrides": {"max_epochs": 1}}, "overrides: 'max_epochs' follows from 'rounds'; set it there"),
    ],
)
def test_each_fault_is_told(values, changes, message):
    with pytest.raises(InputError, match=message):
        federation(values, **changes)


@pytest.mark.parametrize(
    ("client", "message"),
    [
        ({"domain": "t1"}, "client 'north': 'data_root' is missing"),
        ({"data_root": "gone", "domain": "t1"}, "client 'north': data_root .*gone is not a folder"),
        ({"data_root": ".", "domain": "t3"}, r"client 'north': domain 't3' is unknown"),
        (
            {"data_root": ".", "domian": "t1"},
            r"client 'north': key 'domian' is unknown \(did you mean 'domain'",
        ),
        ("data/north", "client 'north' must be {data_root: …, domain: …}"),
        (
            {"data_root": [".", "tests"], "domain": ["t1", "t2", "t1"]},
            "client 'north': expected a domain for each data_root, or one for all, found 2 and 3",
        ),
        ({"data_root": ".", "domain": ["t1", "t2"]}, "client 'north': expected a domain for each data_root"),
        ({"data_root": [".", "."], "domain": "t1"}, "client 'north': 'data_root' names a folder twice"),
        (
            {"data_root": {"a": 1}, "domain": "t1"},
            "client 'north': data_root: expected a text, found {'a': 1}",
        ),
        (
            {"data_root": ".", "domain": "$1"},
            r"client 'north': domain: expected a text, found the expression",
        ),
        (
            {"data_root": "x" * 5000, "domain": "t1"},
            "client 'north': data_root: expected a path of at most 4000",
        ),
    ],
)
def test_each_fault_of_a_client_is_told(values, client, message):
    with pytest.raises(InputError, match=message):
        federation(values, clients={"north": client})


@pytest.mark.parametrize("name", ["../x", "-north", "_north", "\u00d6st"])
def test_names_of_clients_are_names_of_folders(values, name):
    told = (
        f"client '{name}': a name is of letters, .*, and begins with one of A to Z, a to z and 0 to 9, for it"
    )
    with pytest.raises(InputError, match=told):
        federation(values, clients={name: {"data_root": ".", "domain": "t1"}})


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ({"n" * 101: "t1"}, "expected a name of at most 100 letters, found 101"),
        ({"$north": "t1"}, r"clients: a name: expected a text, found the expression '\$north'"),
        ({False: "t1"}, "clients: a name: expected a text, found False; write it in quotes"),
        ({1: "t1", "1": "t2"}, "client '1' stands twice; give each client a name of its own"),
    ],
)
def test_each_fault_of_a_name_is_told(values, roots, clients, message):
    made = {
        name: {"data_root": str(root), "domain": domain}
        for (name, domain), root in zip(clients.items(), roots.values(), strict=False)
    }
    with pytest.raises(InputError, match=message) as caught:
        federation(values, clients=made)
    assert all(len(line) < 400 for line in str(caught.value).splitlines())


def test_two_clients_have_data_of_their_own(values, roots, tmp_path):
    (tmp_path / "link").symlink_to(roots["north"])
    clients = {**values["clients"], "again": {"data_root": str(tmp_path / "link"), "domain": "t1"}}
    with pytest.raises(
        InputError, match=r"clients 'again' and 'north' have the same data_root .*north; give each"
    ):
        federation(values, clients=clients)


def test_a_client_or_a_key_that_stands_twice_is_refused(values, tmp_path):
    text = write_file(tmp_path / "f.yaml", values).read_text()
    (tmp_path / "f.yaml").write_text(text.replace("  south:", "  north:"))
    with pytest.raises(InputError, match=r"f\.yaml: .*could not read it \(line 14: key 'north' stands twice"):
        read_federation(tmp_path / "f.yaml")
    (tmp_path / "f.yaml").write_text(text + "rounds: 5\n")
    with pytest.raises(InputError, match="key 'rounds' stands twice; take one of them out"):
        read_federation(tmp_path / "f.yaml")


@pytest.mark.parametrize(
    ("changes", "program"),
    [
        ({"overrides": {"learning_rate": "$open('{}', 'w').close()"}}, "overrides: learning_rate"),
        ({"overrides": {"network": {"a": [{"_target_": "os.mkdir"}]}}}, "overrides: network: a: _target_"),
        ({"overrides": {"network::_mode_": "debug"}}, "overrides: network::_mode_ 'debug'"),
        ({"overrides": {"learning_rate": "%{}::a"}}, "overrides: learning_rate '%"),
        ({"aggregator": {"_target_": "os.mkdir", "path": "{}"}}, "aggregator: _target_ 'os.mkdir'"),
        ({"study": {"train": {"phases": "$[1]"}}}, r"study: train: phases '\$\[1\]'"),
    ],
)
def test_a_file_that_is_not_trusted_runs_nothing(values, tmp_path, changes, program):
    made = tmp_path / "made"
    text = write_file(tmp_path / "f.yaml", values, **changes).read_text().replace("{}", str(made))
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(InputError, match=f"f\\.yaml: {program}.* run a program .* --trust"):
        read_federation(tmp_path / "f.yaml", trusted=False)
    assert not made.exists()


@pytest.mark.parametrize("key", ["bundle", "adaptation", "segmentation"])
def test_a_bundle_from_elsewhere_is_a_program(values, tmp_path, key):
    other = shutil.copytree(values["bundle"], tmp_path / "received")
    changes = {"bundle": "received"} if key == "bundle" else {"study": {key: str(other)}}
    file = write_file(tmp_path / "f.yaml", values, **changes)
    with pytest.raises(InputError, match=rf"f\.yaml: .*{key} '.*received' would run a program .* --trust"):
        read_federation(file, trusted=False)
    assert read_federation(file).bundle == (str(other) if key == "bundle" else values["bundle"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train::dataset::data::dataset_dir", "/elsewhere/hidden"),
        ("train#dataset#data#dataset_dir", ["hidden"]),
        ("train::dataset::data::split", "../hidden"),
        ("train::dataset::data", [{"image": "/elsewhere/hidden/a.nii.gz"}]),
        ("federation::export::path", "@kill::marker"),
    ],
)
def test_an_override_names_no_place_of_files(values, key, value):
    message = (
        "overrides: '.*' names '.*'; where files lie follows from 'data_root' and 'output_dir': leave it out"
    )
    with pytest.raises(InputError, match=message):
        federation(values, overrides={key: value})
    assert setting_faults({"pretrain": {key: value}}) and not setting_faults({"pretrain": {key: "$a / 2"}})


@pytest.mark.parametrize("name", ["../notes.yaml", "{}/notes.yaml"])
def test_configs_are_the_bundles_own(values, tmp_path, name):
    name = name.replace("{}", str(tmp_path))
    with pytest.raises(InputError, match=r"'configs': '.*notes\.yaml' lies outside of the bundle's folder"):
        federation(values, configs=["common.yaml", "train.yaml", name])


def test_the_projects_own_aggregators_need_no_trust(values, tmp_path):
    aggregator = {"_target_": "shared_components.federation.FedProx", "mu": 0.1}
    file = write_file(tmp_path / "f.yaml", values, aggregator=aggregator, overrides={"learning_rate": 0.1})
    assert read_federation(file, trusted=False).aggregator == aggregator


def test_a_slip_in_an_aggregators_name_is_not_answered_with_trust_alone(values, tmp_path):
    aggregator = {"_target_": "shared_components.federation.TrimedMean"}
    file = write_file(tmp_path / "f.yaml", values, aggregator=aggregator)
    with pytest.raises(
        InputError, match=r"TrimedMean' \(did you mean 'shared_components\.federation\.TrimmedMean'\?\)"
    ):
        read_federation(file, trusted=False)


def test_all_faults_at_once(values):
    with pytest.raises(InputError, match="3 problems") as caught:
        federation(values, rounds=0, engine="flower", round=1)
    assert len(str(caught.value).splitlines()) == 4


def test_unreadable_files(tmp_path):
    with pytest.raises(InputError, match=r"gone\.yaml: expected a federation file, found none"):
        read_federation(tmp_path / "gone.yaml")
    for text, message in (("a: [1", "could not read it"), ("- a", "expected 'key: value' lines")):
        Path(tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match=message):
            read_federation(tmp_path / "bad.yaml")


@pytest.mark.parametrize("name", ["server", "st.mary", "nörd", "North."])
def test_names_that_nvflare_does_not_take_are_refused_for_it(values, name):
    values = {**values, "clients": {**values["clients"], name: values["clients"]["north"]}}
    del values["clients"]["north"]
    values["engine"] = "nvflare"
    with pytest.raises(InputError, match=f"client '{name}': a site's name is of the letters"):
        federation_from(values, source=Path("f.yaml"))
    federation_from({**values, "engine": "local"}, source=Path("f.yaml"))
