"""Parts of both arms: servos in joint angles, guarded motions, torque."""
