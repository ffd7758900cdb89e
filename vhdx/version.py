"""The version of this package, which the build reads from here: no metadata has to be searched for it."""

VERSION = "0.1.0"
