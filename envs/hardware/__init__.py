"""Physical SO101: servo bus, follower, leader and cameras."""
