# Reads the output of `go test -bench . -count N`: the median time of each
# benchmark, and its ratio to the first of its group. A group is a benchmark and
# what stands below it; where it was not run itself, what stands below it; at
# the top, the benchmarks of a package.
$1 == "pkg:" { pkg = $2; sub(/^[^\/]*\//, "", pkg) }
/^Benchmark.*ns\/op/ {
	name = $1
	sub(/-[0-9]+$/, "", name)
	key = pkg " " name
	if (!(key in count)) {
		order[++benchmarks] = key
		above[key] = name ~ /\// ? key : pkg
		if (name ~ /\//) sub(/\/[^\/]*$/, "", above[key])
	}
	times[key, ++count[key]] = $3 + 0
}
function median(key,    n, i, j, v) {
	n = count[key]
	for (i = 1; i <= n; i++) {
		for (j = i; j > 1 && v[j - 1] > times[key, i]; j--) v[j] = v[j - 1]
		v[j] = times[key, i]
	}
	return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
END {
	for (key in above) if (above[key] in count) leads[above[key]] = 1
	printf "%-76s %14s %8s\n", "benchmark", "median ms", "ratio"
	for (i = 1; i <= benchmarks; i++) {
		key = order[i]
		group = key in leads ? key : above[key]
		m = median(key)
		if (!(group in first)) first[group] = m
		printf "%-76s %14.3f %8.2f\n", key, m / 1e6, first[group] ? m / first[group] : 0
	}
}
