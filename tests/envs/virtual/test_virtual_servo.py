"""Virtual servo: behaviour of the vendor's memory table."""

import math

import pytest

from envs.hardware.bus.packets import Instruction, Packet, PacketParser
from envs.hardware.bus.registers import REGISTERS
from envs.virtual.plant import JointState
from envs.virtual.virtual_servo import GoalEvent, VirtualServo

TICK = 2 * math.pi / 4096


@pytest.fixture
def goals() -> list[GoalEvent]:
    return []


@pytest.fixture
def servo(goals: list[GoalEvent]) -> VirtualServo:
    return VirtualServo(1, goals.append)


def ask(servo: VirtualServo, instruction: int, *parameters: int) -> Packet | None:
    answer = servo.answer(Packet(servo.servo_id, instruction, bytes(parameters)))
    return None if answer is None else PacketParser().feed(answer)[0]


def write(servo: VirtualServo, name: str, value: int) -> Packet | None:
    register = REGISTERS[name]
    return ask(servo, Instruction.WRITE, register.address, *register.encode(value))


def pass_time(servo: VirtualServo, seconds: float, effort: float = 0.0, angle: float = 0.0) -> None:
    for _ in range(round(seconds / 0.01)):
        servo.advance(0.0, 0.01, JointState(angle, effort=effort))


def test_a_new_servo_is_a_limp_sts3215(servo: VirtualServo) -> None:
    assert servo.get("Model_Number") == 777 and servo.servo_id == 1
    assert servo.get("Present_Position") == servo.get("Goal_Position") == 2047
    assert servo.drive().torque == 0


def test_read_only_registers_ignore_writes(servo: VirtualServo) -> None:
    write(servo, "Torque_Enable", 0)
    for name in ("Model_Number", "Present_Position", "Present_Temperature", "Status"):
        before = servo.get(name)
        assert write(servo, name, 99) is not None
        assert servo.get(name) == before, name


def test_the_eeprom_is_written_while_the_lock_is_open(servo: VirtualServo) -> None:
    write(servo, "P_Coefficient", 16)
    assert servo.get("P_Coefficient") == 32, "locked after power-up"
    write(servo, "Torque_Enable", 0)
    assert servo.get("Lock") == 0
    write(servo, "P_Coefficient", 16)
    assert servo.get("P_Coefficient") == 16
    write(servo, "Torque_Enable", 1)
    assert servo.get("Lock") == 1
    write(servo, "P_Coefficient", 8)
    assert servo.get("P_Coefficient") == 16


def test_a_power_cut_keeps_the_eeprom_only(servo: VirtualServo) -> None:
    write(servo, "Torque_Enable", 0)
    write(servo, "Max_Torque_Limit", 500)
    write(servo, "Goal_Velocity", 100)
    write(servo, "Torque_Enable", 1)
    write(servo, "Goal_Position", 100)
    servo.power_cycle()
    assert servo.get("Max_Torque_Limit") == servo.get("Torque_Limit") == 500
    assert servo.get("Torque_Enable") == servo.get("Goal_Velocity") == 0
    assert servo.get("Goal_Position") == 2047


def test_a_new_id_is_valid_at_once(servo: VirtualServo) -> None:
    write(servo, "Torque_Enable", 0)
    assert write(servo, "ID", 6) == Packet(1, 0, b""), "the old id still confirms it"
    assert servo.servo_id == 6


def test_the_response_level_silences_all_but_ping_and_read(servo: VirtualServo) -> None:
    servo.set("Response_Status_Level", 0)
    assert write(servo, "Goal_Position", 5) is None
    assert servo.get("Goal_Position") == 5
    assert ask(servo, Instruction.PING) == Packet(1, 0, b"")
    assert ask(servo, Instruction.READ, 5, 1) == Packet(1, 0, b"\x01")


def test_invalid_instructions_are_not_answered(servo: VirtualServo) -> None:
    assert ask(servo, Instruction.READ, 90, 100) is None
    assert ask(servo, Instruction.READ, 90) is None
    assert ask(servo, Instruction.WRITE) is None
    assert ask(servo, 0x55) is None
    write(servo, "Maximum_Acceleration", 3)
    assert ask(servo, Instruction.WRITE, 250, *range(20)) is not None, "nothing is there"


def test_the_homing_offset_moves_the_position(servo: VirtualServo) -> None:
    pass_time(servo, 0.01, angle=300 * TICK)
    assert servo.get("Present_Position") == 2347
    write(servo, "Torque_Enable", 0)
    write(servo, "Homing_Offset", 300)
    assert servo.get("Present_Position") == 2047
    write(servo, "Homing_Offset", -2000)
    assert servo.get("Present_Position") == (2347 + 2000) % 4096, "it wraps around"


def test_the_goal_is_approached_in_the_homed_ticks(servo: VirtualServo) -> None:
    servo.set("Homing_Offset", 300)
    pass_time(servo, 0.01, angle=300 * TICK)
    servo.set("Torque_Enable", 1)
    write(servo, "Goal_Position", 2147)
    assert servo.drive().target == pytest.approx(400 * TICK)


def test_the_goal_never_lies_across_the_end_of_the_ticks(servo: VirtualServo) -> None:
    pass_time(servo, 0.01, angle=2000 * TICK)
    write(servo, "Goal_Position", 10)
    assert servo.drive().target == pytest.approx((10 - 2047) * TICK)
    pass_time(servo, 0.01, angle=(-2047 - 0.3) * TICK)
    write(servo, "Goal_Position", 0)
    assert servo.drive().target == pytest.approx(-2047 * TICK), "0.3 ticks below 0 is no full turn"


def test_limits_clip_the_goal(servo: VirtualServo, goals: list[GoalEvent]) -> None:
    servo.set("Min_Position_Limit", 1000)
    servo.set("Max_Position_Limit", 3000)
    write(servo, "Goal_Position", 4000)
    assert servo.drive().target == pytest.approx((3000 - 2047) * TICK)
    write(servo, "Goal_Position", 0)
    assert [event.goal for event in goals] == [3000, 1000]


def test_switching_the_torque_on_pulls_to_the_old_goal_and_is_logged(
    servo: VirtualServo, goals: list[GoalEvent]
) -> None:
    write(servo, "Goal_Position", 1000)
    write(servo, "Torque_Enable", 1)
    write(servo, "Torque_Enable", 0)
    assert [(event.goal, event.present, event.torque) for event in goals] == [
        (1000, 2047, False),
        (1000, 2047, True),
    ]
    assert goals[0].servo_id == 1


def test_the_torque_limit_and_the_speed_reach_the_joint(servo: VirtualServo) -> None:
    write(servo, "Torque_Enable", 1)
    write(servo, "Torque_Limit", 500)
    write(servo, "Goal_Velocity", 1000)
    drive = servo.drive()
    assert drive.torque == 0.5
    assert drive.speed == pytest.approx(1000 * TICK, rel=0.01), "Phase 0x04: one tick per second"
    servo.set("Phase", 8)
    write(servo, "Goal_Velocity", 20)
    assert servo.drive().speed == pytest.approx(20 * 0.732 * 2 * math.pi / 60)


def test_other_modes_do_not_move(servo: VirtualServo) -> None:
    servo.set("Operating_Mode", 1)
    write(servo, "Torque_Enable", 1)
    assert servo.drive().torque == 0


def test_an_overload_is_reported_and_lowers_the_torque_until_it_is_switched(
    servo: VirtualServo,
) -> None:
    write(servo, "Torque_Enable", 1)
    pass_time(servo, 1.9, effort=-0.9)
    assert servo.get("Status") == 0, "Protection_Time is 2 s"
    pass_time(servo, 0.2, effort=-0.9)
    assert servo.get("Status") == 32
    assert servo.drive().torque == 0.2, "Protective_Torque"
    pass_time(servo, 1.0, effort=-0.2)
    assert ask(servo, Instruction.PING) == Packet(1, 32, b"")
    write(servo, "Torque_Enable", 1)
    assert ask(servo, Instruction.PING) == Packet(1, 0, b"")
    assert servo.drive().torque == 1.0


def test_a_strong_pull_for_a_short_time_is_no_overload(servo: VirtualServo) -> None:
    for _ in range(5):
        pass_time(servo, 1.5, effort=1.0)
        pass_time(servo, 0.1, effort=0.1)
    assert servo.get("Status") == 0


def test_heat_switches_the_torque_off_if_the_unloading_condition_says_so(
    servo: VirtualServo,
) -> None:
    write(servo, "Torque_Enable", 1)
    servo.set("Present_Temperature", 70)
    assert ask(servo, Instruction.PING) == Packet(1, 4, b"")
    assert servo.drive().torque == 0
    servo.set("Unloading_Condition", 0)
    assert servo.drive().torque == 1


def test_a_wrong_voltage_is_reported(servo: VirtualServo) -> None:
    servo.set("Max_Voltage_Limit", 80)
    assert ask(servo, Instruction.PING) == Packet(1, 1, b"")


def test_load_and_current_follow_the_effort(servo: VirtualServo) -> None:
    pass_time(servo, 0.01, effort=-0.5)
    assert servo.get("Present_Load") == -500
    assert servo.get("Present_Current") == pytest.approx(-1.35 / 0.0065, abs=1)
    servo.set("Phase", 12 | 0x20)
    pass_time(servo, 0.01, effort=-7.0)
    assert servo.get("Present_Current") == 0
    assert servo.get("Present_Load") == -1000
