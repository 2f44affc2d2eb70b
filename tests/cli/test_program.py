"""The program `pcka-mmdet`."""

import re
import sys

import pytest

from pcka_mmdet.cli import COMMANDS, main
from pcka_mmdet.configuration import installed
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
    assert status == 0 and all(re.search(rf"^    {name}\s", out, re.MULTILINE) for name in COMMANDS)
    assert run() == (0, out, "")


def test_the_versions(run):
    assert run("--version") == (0, f"{installed.releases()}\n", "")


def test_a_command_that_is_not_there(run):
    status, _, said = run("trian")
    assert status == 2 and "invalid choice: 'trian' (choose from" in said and "train" in said


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


def test_every_command_is_a_module_and_every_tool_a_command():
    modules = {path.stem.replace("_", "-") for path in (ROOT / "pcka_mmdet" / "cli").glob("*.py")}
    assert COMMANDS.keys() <= modules
    for tool in (ROOT / "tools").glob("*.py"):
        lines = tool.read_text().splitlines()
        (name,) = re.findall(r'main\(command="(.+)"\)', lines[-1])
        assert name in COMMANDS and len(lines) <= 5, tool


def test_a_tool_is_its_command(command):
    done = command("tools/export_student.py", check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: pcka-mmdet export [-h]")


def test_the_doctor_on_an_installation(run):
    status, out, _ = run("doctor")
    assert status == 0 and all(line.startswith("ok") for line in out.splitlines())
