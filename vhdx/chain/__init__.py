"""The layers of a disk: finding them, reading through them, and who has whom as its parent."""
