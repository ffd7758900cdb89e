"""The shares of a backend: list, connections and pools."""
