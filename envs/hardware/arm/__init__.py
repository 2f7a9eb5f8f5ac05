"""What both arms share: servos in joint angles, guarded motions, torque."""
