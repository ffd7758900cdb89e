"""Side by side with the peers: the same work on the same bytes in one run, and what came of it against the floors."""
