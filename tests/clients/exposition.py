"""Reads a scrape from standard input as Prometheus would, and prints all samples as JSON.

Fails where the text is not what promtool's check would take: families without help, counters that are not called
_total, samples that come twice, buckets that shrink.
"""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

text = sys.stdin.read()
assert text.endswith("\n")
seen, samples = set(), []
for family in text_string_to_metric_families(text):
    assert family.documentation, f"{family.name} has no help"
    assert family.type in ("counter", "gauge", "histogram"), f"{family.name} is a {family.type}"
    buckets = {}
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, f"{key} comes twice"
        seen.add(key)
        assert family.type != "counter" or sample.name.endswith("_total"), f"{sample.name} is a counter"
        if sample.name.endswith("_bucket"):
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            assert sample.value >= buckets.get(labels, 0), f"{sample.name} shrinks"
            buckets[labels] = sample.value
        samples.append({"name": sample.name, "labels": sample.labels, "value": sample.value})
    names = {sample.name for sample in family.samples}
    assert len(names) <= 3, f"{family.name} has {names}"
print(json.dumps(samples))
