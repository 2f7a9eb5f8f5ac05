"""From frames to features: the frozen trunk and the encoders of a camera."""
