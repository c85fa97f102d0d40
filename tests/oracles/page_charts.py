"""The charts of a page or a fragment of one, unpacked."""

import base64
import gzip
import json
import re


def unpacked(text):
    """What the page's script reads of a packed text."""
    return gzip.decompress(base64.b64decode(text)).decode("utf-8")


def charts(fragment, kind):
    """{name: figure} of every chart of a kind."""
    found = {}
    for element in re.findall(r'<div class="chart"[^>]*>', fragment):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', element))
        assert attributes["role"] == "img"
        assert attributes["aria-label"]
        if attributes["data-kind"] == kind:
            found[attributes["id"].removeprefix("chart-")] = json.loads(unpacked(attributes["data-figure"]))
    return found


def plots(fragment):
    """(traces, layout) of every Plotly chart."""
    return [(figure["data"], figure["layout"]) for figure in charts(fragment, "plotly").values()]
