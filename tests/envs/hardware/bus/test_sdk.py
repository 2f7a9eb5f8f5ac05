"""Virtual servos behind a port, as the vendor's unchanged SDK sees them."""

from collections.abc import Iterator

import pytest
import scservo_sdk as sdk

from envs.hardware.bus.registers import REGISTERS
from envs.virtual.virtual_port import VirtualPort
from tests.patience import MARGIN

pytestmark = pytest.mark.realtime

GOAL = REGISTERS["Goal_Position"].address
PRESENT = REGISTERS["Present_Position"].address


@pytest.fixture
def wire(port: VirtualPort, monkeypatch: pytest.MonkeyPatch) -> Iterator[sdk.PortHandler]:
    monkeypatch.setattr(sdk.port_handler, "LATENCY_TIMER", 1000 * MARGIN)  # of the adapter [ms]
    wire = sdk.PortHandler(port.path)
    assert wire.openPort()
    yield wire
    wire.closePort()


@pytest.fixture
def handler() -> sdk.protocol_packet_handler:
    return sdk.PacketHandler(0)


def test_ping(wire: sdk.PortHandler, handler: sdk.protocol_packet_handler) -> None:
    assert handler.ping(wire, 3) == (777, sdk.COMM_SUCCESS, 0)
    assert handler.ping(wire, 33)[1] == sdk.COMM_RX_TIMEOUT


def test_read_and_write(wire: sdk.PortHandler, handler: sdk.protocol_packet_handler) -> None:
    assert handler.write2ByteTxRx(wire, 2, GOAL, 1234) == (sdk.COMM_SUCCESS, 0)
    assert handler.read2ByteTxRx(wire, 2, GOAL) == (1234, sdk.COMM_SUCCESS, 0)
    assert handler.read1ByteTxRx(wire, 2, REGISTERS["ID"].address)[0] == 2


def test_reg_write_takes_effect_with_action(
    wire: sdk.PortHandler, handler: sdk.protocol_packet_handler, port: VirtualPort
) -> None:
    assert handler.regWriteTxRx(wire, 2, GOAL, 2, [0x10, 0x01]) == (sdk.COMM_SUCCESS, 0)
    assert handler.read2ByteTxRx(wire, 2, GOAL)[0] == 2047
    handler.action(wire, sdk.BROADCAST_ID)
    assert handler.read2ByteTxRx(wire, 2, GOAL)[0] == 0x110


def test_sync_read(wire: sdk.PortHandler, handler: sdk.protocol_packet_handler) -> None:
    group = sdk.GroupSyncRead(wire, handler, PRESENT, 2)
    for servo_id in (6, 1, 4):
        assert group.addParam(servo_id)
    assert group.txRxPacket() == sdk.COMM_SUCCESS
    assert [group.getData(servo_id, PRESENT, 2) for servo_id in (6, 1, 4)] == [2047] * 3


def test_sync_write(wire: sdk.PortHandler, handler: sdk.protocol_packet_handler) -> None:
    group = sdk.GroupSyncWrite(wire, handler, GOAL, 2)
    for servo_id in range(1, 7):
        assert group.addParam(servo_id, [servo_id, 4])
    assert group.txPacket() == sdk.COMM_SUCCESS
    goals = [handler.read2ByteTxRx(wire, servo_id, GOAL)[0] for servo_id in range(1, 7)]
    assert goals == [1024 + servo_id for servo_id in range(1, 7)]


def test_a_hot_servo_reports_overheat(
    wire: sdk.PortHandler, handler: sdk.protocol_packet_handler, port: VirtualPort
) -> None:
    port.call(lambda: port.chain.servo(5).set("Present_Temperature", 80))
    _, result, error = handler.read2ByteTxRx(wire, 5, PRESENT)
    assert result == sdk.COMM_SUCCESS
    assert handler.getRxPacketError(error) == "[RxPacketError] Overheat error!"
