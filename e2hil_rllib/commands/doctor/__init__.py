"""Whether an SO101 and its cameras are ready to be used, and what to do where not; only reads."""

from e2hil_rllib.commands.doctor.show import show_doctor, show_robot

__all__ = ["show_doctor", "show_robot"]
