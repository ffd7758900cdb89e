"""VHD 1.0 images."""
