// The server's metrics, as Prometheus writes them, and what the charts need of two looks.

export function parsed(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (match) samples.push({ name: match[1], labels: match[2] ?? "", value: Number(match[3]) });
  }
  return samples;
}

const sum = (samples, name, label = "") =>
  samples
    .filter((sample) => sample.name === name && sample.labels.includes(label))
    .reduce((total, sample) => total + sample.value, 0);

// the upper end of the bucket within which that share of the requests since the last look ended, in milliseconds
function quantile(before, now, share) {
  const name = "rerank_request_duration_seconds_bucket";
  const buckets = new Map();
  for (const [samples, sign] of [[now, 1], [before, -1]])
    for (const sample of samples.filter((each) => each.name === name)) {
      const end = Number(/le="([^"]+)"/.exec(sample.labels)[1].replace("+Inf", "Infinity"));
      buckets.set(end, (buckets.get(end) ?? 0) + sign * sample.value);
    }
  const ends = [...buckets.keys()].sort((one, other) => one - other);
  const all = buckets.get(Infinity) ?? 0;
  const end = all > 0 ? ends.find((each) => buckets.get(each) >= share * all) : undefined;
  return end === undefined ? null : 1000 * (Number.isFinite(end) ? end : ends.at(-2));
}

export function figures(before, now, seconds) {
  const rate = (name, label) => (sum(now, name, label) - sum(before, name, label)) / seconds;
  const looked = rate("rerank_cache_pairs_total");
  return {
    waiting: sum(now, "rerank_waiting_pairs"),
    inFlight: sum(now, "rerank_documents_in_flight"),
    documents: rate("rerank_documents_total"),
    tokens: rate("rerank_tokens_total"),
    half: quantile(before, now, 0.5),
    most: quantile(before, now, 0.95),
    hits: looked > 0 ? (100 * rate("rerank_cache_pairs_total", 'found="yes"')) / looked : null,
  };
}
