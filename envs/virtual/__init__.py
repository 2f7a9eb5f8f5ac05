"""Virtual SO101: servos, cameras and a person, as test equipment at wire level."""
