"""The version of the package. The build reads it from here; reading it needs no package metadata."""

VERSION = "0.1.0"
