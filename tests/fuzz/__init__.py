"""Lies told to every kind of image, and what has to hold whatever the bytes say."""
