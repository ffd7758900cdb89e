"""The shares of a backend: their list, their connections, their pools."""
