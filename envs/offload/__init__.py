"""Models larger than a GPU's memory, on one server."""
