"""One disk image over one storage."""
