"""The program `pcka-mmdet`."""

import sys

import pytest

from pcka_mmdet.cli import COMMANDS, main
from pcka_mmdet.configuration import installed
from pcka_mmdet.configuration.carried import carried
from tests.processes import ROOT


@pytest.fixture
def run(monkeypatch, capsys):
    """Its exit status, output and errors."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["pcka-mmdet", *words])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return call


def test_the_list_of_commands(run):
    status, out, _ = run("--help")
    assert status == 0 and all(f"  {name} " in out for name in COMMANDS)
    assert run() == (0, out, "")


def test_the_versions(run):
    assert run("--version") == (0, f"{installed.releases()}\n", "")


def test_a_command_that_is_not_there(run):
    status, _, said = run("trian")
    assert status == 2 and said.startswith("pcka-mmdet: there is no command 'trian'\n")


def test_what_is_not_installed_is_named_with_its_command(run, monkeypatch):
    find = installed.find_spec
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name in ("mmrazor", "mmdet") else find(name))
    status, out, said = run("doctor")
    assert (status, out, said) == (2, "", "the package 'mmrazor' is missing: pip install mmrazor==1.0.0\n")


def test_the_commands_name_the_versions_that_were_tried():
    pinned = {line for path in (ROOT / "requirements").glob("*.txt") for line in path.read_text().split()}
    named = {word for text in installed.INSTALL.values() for word in text.split() if "==" in word}
    assert named - {"mmcv==2.1.0"} <= pinned and "mmcv==2.1.0" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", ["train", "plan", "export-onnx"])
def test_a_command_is_its_tool(run, name):
    status, out, _ = run(name, "--help")
    assert status == 0 and out.startswith(f"usage: pcka-mmdet {name} [-h]")


def test_its_errors_are_those_of_the_tool(run):
    status, _, said = run("plan", "pcka_mmdet::none.py")
    assert status == 2 and "pcka_mmdet has no config 'none.py'" in said


def test_all_tools_are_there():
    assert carried("configs") == ROOT / "configs"
    assert all((carried("tools") / path).is_file() for path, _ in COMMANDS.values())


def test_the_doctor_on_an_installation(run):
    status, out, _ = run("doctor")
    assert status == 0 and all(line.startswith("ok") for line in out.splitlines())
