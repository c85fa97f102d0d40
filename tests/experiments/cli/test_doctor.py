"""`dsegym doctor`, `--version`, and what a shell completes."""

import json
from importlib import metadata

import pytest
from typer.testing import CliRunner

from dsegym.experiments import cli
from dsegym.experiments.cli import doctor


@pytest.fixture
def installed(monkeypatch):
    """Sets what the package asks for, and what is installed."""

    def change(requires, versions):
        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        extras = {each.partition('extra == "')[2].rstrip('"') for each in requires if "extra" in each}
        monkeypatch.setattr(doctor.metadata, "requires", lambda name: requires)
        monkeypatch.setattr(doctor.metadata, "version", version)
        monkeypatch.setattr(
            doctor.metadata, "metadata", lambda name: type("Found", (), {"get_all": lambda self, key: sorted(extras)})()
        )

    return change


REQUIRES = [
    "base>=2",
    'solver>=1.5; extra == "solvers"',
    'dsegym[solvers]; extra == "agents"',
    'torch; extra == "agents"',
]
AT_HAND = {"dsegym": "0.1.0", "base": "2.0", "solver": "1.5", "torch": "2.13.0+cpu"}


def test_a_whole_installation_is_said_to_be_whole(dsegym_command, installed):
    installed(REQUIRES, AT_HAND)
    code, out, err = dsegym_command("doctor")
    assert (code, err) == (0, "")
    assert "Whole: dsegym, agents, solvers." in out
    assert "pip install" not in out


def test_what_an_extra_lacks_is_named_with_the_command_that_brings_it_and_so_is_each_extra_that_takes_it_along(
    dsegym_command, installed
):
    installed(REQUIRES, AT_HAND | {"solver": "1.4"})
    code, out, _ = dsegym_command("doctor")
    assert code == 0
    assert "The extra agents is not whole (solver): pip install 'dsegym[agents]'" in out
    assert "The extra solvers is not whole (solver): pip install 'dsegym[solvers]'" in out


@pytest.mark.parametrize(("versions", "said"), [({"base": "1.9"}, "base >=2 (1.9)"), ({}, "base >=2 (not installed)")])
def test_a_base_that_is_missing_or_too_old_ends_with_an_error(dsegym_command, installed, versions, said):
    installed(REQUIRES, {key: value for key, value in AT_HAND.items() if key != "base"} | versions)
    code, _, err = dsegym_command("doctor")
    assert code == 1
    assert said in err


def test_the_report_of_this_machine_names_its_devices(dsegym_command):
    code, out, _ = dsegym_command("doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["ready"]
    assert "cpu" in report["machine"]["devices of JAX"]
    assert {"numpy", "jax", "gymnasium"} <= {each["name"] for each in report["libraries"] if each["fits"]}


def test_a_platform_that_is_not_there_is_part_of_the_report(dsegym_command, monkeypatch):
    import jax

    def devices():
        raise RuntimeError("Unknown backend: 'tpu' requested")

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)  # which libraries set
    code, out, _ = dsegym_command("doctor")
    assert code == 0
    assert "none: RuntimeError: Unknown backend: 'tpu' requested" in out


def test_the_version_is_the_installed_one(dsegym_command):
    assert dsegym_command("--version") == (0, f"dsegym {metadata.version('dsegym')}\n", "")


def test_a_shell_completes_commands_and_scenarios():
    def completed(words, place):
        variables = {"_DSEGYM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
        return CliRunner().invoke(cli.app, [], prog_name="dsegym", env=variables).output.split()

    assert completed("dsegym opt", 1) == ["optimize"]
    assert completed("dsegym info dsegym/AcceleratorSiz", 2) == ["dsegym/AcceleratorSizing-v0"]
