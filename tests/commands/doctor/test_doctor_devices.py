"""Which serial ports and cameras the doctor finds on a machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.doctor.camera_devices import find_cameras
from e2hil_rllib.commands.doctor.findings import Level
from e2hil_rllib.commands.doctor.ports import find_ports


def port(device: str, vid: int | None) -> SimpleNamespace:
    return SimpleNamespace(device=device, vid=vid, description="USB Single Serial")


@pytest.mark.parametrize(
    ("ports", "levels", "status"),
    [
        ([], ["fault"], 1),
        ([port("/dev/ttyS0", None)], ["note", "fault"], 1),
        ([port("/dev/ttyACM0", 0x2341), port("/dev/ttyACM1", 0x1A86)], ["ok", "note"], 0),
    ],
)
def test_ports_are_listed(
    monkeypatch: pytest.MonkeyPatch, ports: list[SimpleNamespace], levels: list[str], status: int
) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    findings = find_ports()
    assert [finding.level for finding in findings] == levels
    if status == 0:
        assert findings[0].where == "/dev/ttyACM1"
        assert findings[0].step == "try e2hil doctor --port /dev/ttyACM1"
    monkeypatch.setattr("sys.platform", "linux")
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "250"})
    assert result.exit_code == status
    assert ("without an arm: e2hil virtual" in result.output) == (status == 1)
    assert "cameras" in result.output


def test_a_port_without_permission_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ttyACM0").touch()
    monkeypatch.setattr(
        "serial.tools.list_ports.comports", lambda: [port(str(tmp_path / "ttyACM0"), 0x1A86)]
    )
    assert find_ports()[0].level is Level.OK
    monkeypatch.setattr("os.access", lambda *_: False)
    (finding,) = find_ports()
    assert finding.level is Level.FAULT and "dialout" in finding.step


class Machine:
    """Folders that look like the /dev and /sys of a machine with cameras."""

    def __init__(self, root: Path) -> None:
        self.dev, self.drivers = root / "dev", root / "drivers"
        self.dev.mkdir()

    def plug(self, number: int, *, index: int = 0, label: str = "Cam", **links: str) -> Path:
        """Adds a video device; links are names by kind, with _ for -."""
        node, driver = self.dev / f"video{number}", self.drivers / f"video{number}"
        node.touch()
        driver.mkdir(parents=True)
        (driver / "name").write_text(f"{label}\n")
        (driver / "index").write_text(f"{index}\n")
        for kind, name in links.items():
            link = self.dev / "v4l" / kind.replace("_", "-") / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path("../..") / node.name)
        return node


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("sys.platform", "linux")
    return Machine(tmp_path)


def test_no_camera_is_a_note(machine: Machine) -> None:
    (finding,) = find_cameras(machine.dev, machine.drivers)
    assert finding.level is Level.NOTE and "e2hil virtual" in finding.step


def test_a_camera_is_listed_with_the_path_that_stays(machine: Machine) -> None:
    machine.plug(10, label="C920", by_id="usb-C920-index0", by_path="pci-1-index0")
    machine.plug(11, index=1, by_id="usb-C920-index1", by_path="pci-1-index1")  # its metadata
    machine.plug(2, label="C270", by_id="usb-C270-index0", by_path="pci-2-index0")
    findings = find_cameras(machine.dev, machine.drivers)
    assert [Path(f.where).name for f in findings] == ["video2", "video10"]
    assert [f.what for f in findings] == ["C270", "C920"]
    assert all(f.level is Level.OK for f in findings)
    path = machine.dev / "v4l/by-id/usb-C920-index0"
    assert f"source: {path} into its settings" in findings[1].step
    assert findings[1].step.endswith(f"--camera {path}")


def test_of_twins_that_share_an_id_the_socket_tells(machine: Machine) -> None:
    machine.plug(0, by_path="pci-1-index0")
    machine.plug(2, by_id="usb-Twin-index0", by_path="pci-2-index0")
    for finding in find_cameras(machine.dev, machine.drivers):
        assert "by-path/pci" in finding.step and "this USB port" in finding.step


def test_a_camera_without_links_has_only_its_number(machine: Machine) -> None:
    node = machine.plug(0)
    (finding,) = find_cameras(machine.dev, machine.drivers)
    assert finding.level is Level.NOTE and f"--camera {node}" in finding.step


def test_a_camera_without_permission_is_a_fault(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.plug(0, by_id="usb-C920-index0")
    monkeypatch.setattr("os.access", lambda *_: False)
    (finding,) = find_cameras(machine.dev, machine.drivers)
    assert finding.level is Level.FAULT and "video $USER" in finding.step


def test_elsewhere_cameras_have_numbers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    (finding,) = find_cameras()
    assert finding.level is Level.NOTE and "--camera 0" in finding.step
