package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// overview tells the person on call whether the mirror helps, and what is wrong.
var overview = board{
	uid:         "mirrord-overview",
	title:       "mirrord overview",
	description: "A pull-through mirror: whether it helps, what its clients get, its cache, and what fails.",
	filters:     []variable{job, instance},
	rows: []row{
		{"At a glance", glance},
		{"Clients", clients},
		{"Failures", failures},
		{"Cache", cache},
		{"Downloads into the cache", downloads},
		{"Fleet", fleet},
		{"Warm lists", warmLists},
		{"Webhooks", webhooks},
		{"Access and limits of clients", access},
		{"Process", process},
	},
}

// Shares of content that needed nothing from the upstream, over a time.
const (
	hitRequests     = `(sum(increase(mirrord_requests_total{MIRROR, kind=~"manifest|blob", via=~"hit|revalidated|stale"}[$__range])) or vector(0)) / clamp_min(sum(increase(mirrord_requests_total{MIRROR, kind=~"manifest|blob", via!="none"}[$__range])) or vector(0), 1)`
	hitBytes        = `(sum(increase(mirrord_response_bytes_total{MIRROR, kind=~"manifest|blob", via=~"hit|revalidated|stale"}[$__range])) or vector(0)) / clamp_min(sum(increase(mirrord_response_bytes_total{MIRROR, kind=~"manifest|blob", via!="none"}[$__range])) or vector(0), 1)`
	hitRequestsRate = `(sum(job_instance_upstream:mirrord_content_hits:rate1h{MIRROR}) / clamp_min(sum(job_instance_upstream:mirrord_content_requests:rate1h{MIRROR}), 1e-9)) or (sum(rate(mirrord_requests_total{MIRROR, kind=~"manifest|blob", via=~"hit|revalidated|stale"}[1h])) or vector(0)) / clamp_min(sum(rate(mirrord_requests_total{MIRROR, kind=~"manifest|blob", via!="none"}[1h])) or vector(0), 1e-9)`
	hitBytesRate    = `(sum(job_instance_upstream:mirrord_content_hit_bytes:rate1h{MIRROR}) / clamp_min(sum(job_instance_upstream:mirrord_content_bytes:rate1h{MIRROR}), 1e-9)) or (sum(rate(mirrord_response_bytes_total{MIRROR, kind=~"manifest|blob", via=~"hit|revalidated|stale"}[1h])) or vector(0)) / clamp_min(sum(rate(mirrord_response_bytes_total{MIRROR, kind=~"manifest|blob", via!="none"}[1h])) or vector(0), 1e-9)`
)

var glance = []panel{
	figure("Mirrors that respond", units.Short, "Mirrors that respond to scrapes, of those that have in the last day. 0, or fewer than expected: one is down, and its clients pull directly from the upstream.",
		[]level{{"red", 0}, {"green", 1}},
		q(`sum(up{MIRROR} * on (job, instance) max by (job, instance) (max_over_time(mirrord_build_info{MIRROR}[1d]))) or vector(0)`, "mirrors")),
	figure("Alerts", units.Short, "Alerts of dashboards/alerts.yml that are firing; docs/troubleshooting.md has what to do about each. 0 also if the rules are not loaded.",
		[]level{{"green", 0}, {"red", 1}},
		q(zero(`count by (alertname) (ALERTS{alertname=~"Mirrord.+", alertstate="firing"})`, "alertname", "none"), "{{alertname}}")),
	figure("Hit ratio, requests", units.PercentUnit, "Share of manifests and blobs in the time shown that needed no content from the upstream (hit, revalidated, stale). Low: new images, or a cache that is too small, see Oldest blob. 0 without requests.",
		[]level{{"text", 0}, {"orange", 0.01}, {"green", 0.5}}, q(hitRequests, "hits")),
	figure("Hit ratio, bytes", units.PercentUnit, "The same by bytes. Low while the ratio by requests is good: large layers are evicted before they are requested again.",
		[]level{{"text", 0}, {"orange", 0.01}, {"green", 0.5}}, q(hitBytes, "hits")),
	figure("Pulls saved", units.Short, "Manifests in the time shown that clients got without a pull that the upstream counts.",
		[]level{{"text", 0}, {"green", 1}}, q(`sum(increase(mirrord_pulls_saved_total{MIRROR}[$__range])) or vector(0)`, "saved")),
	figure("Traffic saved", units.BytesIEC, "Bytes in the time shown that clients got and the upstream did not send. 0 while the cache fills for the first time.",
		[]level{{"text", 0}, {"green", 1}},
		q(`clamp_min((sum(increase(mirrord_response_bytes_total{MIRROR}[$__range])) or vector(0)) - (sum(increase(mirrord_upstream_received_bytes_total{MIRROR}[$__range])) or vector(0)), 0)`, "saved")),
	figure("Pull budget left", units.PercentUnit, "Share of the upstream's pull limit that is left, of the upstream with the least. At 0 only cached images can be pulled. 100 % also if no upstream reports a limit. The other dashboard has it by upstream.",
		[]level{{"red", 0}, {"orange", 0.1}, {"green", 0.4}},
		q(`min(sum by (upstream) (mirrord_upstream_quota_remaining{MIRROR}) / clamp_min(sum by (upstream) (mirrord_upstream_quota_limit{MIRROR}), 1)) or vector(1)`, "left")),
	figure("Pulls possible in", units.Seconds, "Time until an upstream that limits is asked again. 0: now. Above 0, images that are not cached cannot be pulled from it.",
		[]level{{"green", 0}, {"red", 1}},
		q(`max(min by (upstream) (mirrord_upstream_wait_seconds{MIRROR})) or vector(0)`, "wait")),
	figure("Failed requests", units.Short, "Requests in the time shown for content that was unavailable, whatever status the client got. Above 0, pulls failed or bypassed the mirror. The log has the upstream's own words.",
		[]level{{"green", 0}, {"orange", 1}, {"red", 10}},
		q(`sum(increase(mirrord_requests_total{MIRROR, status="5xx"}[$__range])) or vector(0)`, "failed")),
	figure("Cache full", units.PercentUnit, "Cached bytes as a share of cache.max_size. 100 % is normal for a cache that has run for a while; then look at Cache reaches back.",
		[]level{{"green", 0}}, q(`max(mirrord_cache_bytes{MIRROR} / clamp_min(mirrord_cache_max_bytes{MIRROR}, 1)) or vector(0)`, "full")),
	figure("Cache reaches back", units.Seconds, "Time since the least recently used blob was used. In a full cache, what is not used for so long is evicted: under a day, raise cache.max_size. 0: the cache is empty.",
		[]level{{"text", 0}}, q(`min(mirrord_cache_oldest_age_seconds{MIRROR}) or vector(0)`, "oldest")),
	figure("Works without", units.Short, "Parts that are failing or full: the disk (content bypasses the cache) or the index (a restart loses what was not written). 0 is normal; /readyz says why.",
		[]level{{"green", 0}, {"red", 1}}, q(`sum(mirrord_cache_degraded{MIRROR}) or vector(0)`, "parts")),
}

var clients = []panel{
	graph("Requests by source of the response", units.RequestsPerSecond, "hit: from the cache. known: a HEAD of a tag whose content is not cached, the upstream not asked. revalidated: from the cache, the tag confirmed. fill: downloaded, or joined to a download in flight. stale: a stale copy. pass: not through the cache. none: pings and errors. Much stale: look at the upstream. Much pass: blobs too large for the cache, ranges of cold blobs, HEADs and empty or large lists.",
		q(zero(`sum by (via) (rate(mirrord_requests_total{MIRROR}[$__rate_interval]))`, "via", "no requests"), "{{via}}")),
	graph("Requests by kind and status", units.RequestsPerSecond, "4xx: not found, refused, or a client that left before its response. 5xx: content was unavailable. A rise of 4xx for one kind only is usually one wrong image name in a loop; the log names it.",
		q(zero(`sum by (kind, status) (rate(mirrord_requests_total{MIRROR}[$__rate_interval]))`, "kind", "no requests"), "{{kind}} {{status}}")),
	graph("Bytes to clients", units.BytesPerSecondIEC, "By source. Flat at the limit of the network card or the disk: clients wait for this host, not for the upstream.",
		q(zero(`sum by (via) (rate(mirrord_response_bytes_total{MIRROR}[$__rate_interval]))`, "via", "no requests"), "{{via}}")),
	graph("Hit ratio of the last hour", units.PercentUnit, "By requests and by bytes, from the recording rules if they are loaded. A sudden drop: a restart with a new cache directory, a lost disk, or a roll-out of new images. 0 without requests.",
		q(hitRequestsRate, "requests"), q(hitBytesRate, "bytes")),
	graph("Response time, manifests", units.Seconds, "Median and 99th percentile. Cached manifests take about a millisecond. 1.5 s: the upstream does not respond, and clients wait that long before the stale copy is served. 15 to 20 s: it hangs and there is no cached copy. 0 without requests.",
		q(quantile("0.5", `mirrord_request_duration_seconds_bucket{MIRROR, kind="manifest", operation=~"get|head"}`), "{{operation}} median"),
		q(quantile("0.99", `mirrord_request_duration_seconds_bucket{MIRROR, kind="manifest", operation=~"get|head"}`), "{{operation}} 99 %")),
	graph("Response time, blobs", units.Seconds, "Median and 99th percentile, including the time the client takes to read. A rising median with an unchanged hit ratio: the disk or the network is slow. 0 without requests.",
		q(quantile("0.5", `mirrord_request_duration_seconds_bucket{MIRROR, kind="blob", operation="get"}`), "{{operation}} median"),
		q(quantile("0.99", `mirrord_request_duration_seconds_bucket{MIRROR, kind="blob", operation="get"}`), "{{operation}} 99 %")),
}

// quantile returns a quantile by operation of a histogram, and 0 where it has no events.
func quantile(share, buckets string) string {
	return zero(`(histogram_quantile(`+share+`, sum by (le, operation) (rate(`+buckets+`[$__rate_interval]))) >= 0)`, "operation", "no requests")
}

var failures = []panel{
	graph("Failed responses", units.RequestsPerSecond, "5xx: content was unavailable, whatever status the client got. cut: the response broke off. For clients: a failed pull, or one that bypassed the mirror.",
		q(`sum(rate(mirrord_requests_total{MIRROR, status="5xx"}[$__rate_interval])) or vector(0)`, "5xx"),
		q(`sum(rate(mirrord_requests_total{MIRROR, status="cut"}[$__rate_interval])) or vector(0)`, "cut")),
	graph("Stale responses by reason", units.RequestsPerSecond, "Stale copies of tags. unavailable and slow: the upstream fails or is slow. fallback: a fallback was asked. pulls and requests: it limits. reserve: the last pulls are for new images. client: one client has used up its share. refreshing: as configured with tags.stale_while_revalidate.",
		q(`sum by (reason) (rate(mirrord_stale_answers_total{MIRROR}[$__rate_interval]))`, "{{reason}}")),
	graph("Damaged blobs and index errors", units.Short, "In the last hour. damaged: a file was missing, had the wrong size or did not match its digest; it is downloaded again. index: badger could not read or write a record, usually because of a full or broken disk. Several in an hour: check the disk.",
		q(`sum by (instance) (increase(mirrord_cache_damaged_total{MIRROR}[1h]))`, "{{instance}} damaged"),
		q(`sum by (instance) (increase(mirrord_index_errors_total{MIRROR}[1h]))`, "{{instance}} index errors")),
	graph("Works without", units.Short, "1 for disk: content bypasses the cache; clients are still served, at the upstream's cost. 1 for index: a restart loses what was not written. /readyz says why; both recover without a restart.",
		q(`max by (instance, part) (mirrord_cache_degraded{MIRROR})`, "{{instance}} {{part}}")),
	graph("Failed downloads", units.Short, "Downloads into the cache that failed; content that the upstream does not have is not counted. With an upstream that responds: the disk is full or broken, or content did not match its digest; the log says which.",
		q(`sum by (instance) (increase(mirrord_fill_failures_total{MIRROR}[$__rate_interval]))`, "{{instance}}")),
	graph("Restarts", units.Short, "Starts of the process in the last hour. More than you have caused: it crashes, or the watchdog ends it because it does not respond; the journal says why.",
		q(`sum by (instance) (changes(process_start_time_seconds{MIRROR}[1h]) and on (job, instance) mirrord_build_info{MIRROR})`, "{{instance}}")),
}

var cache = []panel{
	graph("Bytes", units.BytesIEC, "Cached, of them pinned, reserved for downloads, and the limit. Cached far below the limit during evictions: cache.min_free is reached first, because something else fills the disk. Pinned near cached: little is left for what clients pull otherwise; unpin what is no longer needed.",
		q(`mirrord_cache_bytes{MIRROR}`, "{{instance}} cached"),
		q(`mirrord_cache_pinned_bytes{MIRROR}`, "{{instance}} pinned"),
		q(`mirrord_cache_reserved_bytes{MIRROR}`, "{{instance}} reserved"),
		q(`mirrord_cache_max_bytes{MIRROR}`, "{{instance}} max_size")),
	graph("Disk", units.BytesIEC, "Free bytes of the file system, and what the cache leaves free. Free below min_free: something else fills the disk faster than the cache can shrink.",
		q(zero(`mirrord_cache_disk_free_bytes{MIRROR}`, "instance", "the disk does not respond"), "{{instance}} free"),
		q(`mirrord_cache_min_free_bytes{MIRROR}`, "{{instance}} min_free")),
	graph("Blobs and tags", units.Short, "A drop to nearly 0 after a restart: another cache directory, or a damaged index that was replaced; blobs are adopted again within minutes, tags when they are requested.",
		q(`mirrord_cache_entries{MIRROR}`, "{{instance}} blobs and manifests"),
		q(`mirrord_cache_tags{MIRROR}`, "{{instance}} tags")),
	graph("Evicted and fetched", units.BytesPerSecondIEC, "Bytes evicted to make space, and fetched from the upstream. A full cache evicts what it fetches; whether that hurts is shown by Oldest blob.",
		q(`sum(rate(mirrord_cache_evicted_bytes_total{MIRROR}[$__rate_interval])) or vector(0)`, "evicted"),
		q(`sum(rate(mirrord_upstream_received_bytes_total{MIRROR}[$__rate_interval])) or vector(0)`, "fetched")),
	graph("Oldest blob", units.Seconds, "Time since the least recently used blob was used: how far back the cache reaches. Below the time between two pulls of the same image, typically a day, in a full cache: raise cache.max_size.",
		q(`mirrord_cache_oldest_age_seconds{MIRROR}`, "{{instance}}")),
	graph("Scrubbed per day", units.BytesIEC, "Bytes that the scrub has read and found intact in a day. It reads all cached content once in cache.scrub, a week by default. 0: it is off, or the cache is young or holds only a few large blobs.",
		q(`sum by (instance) (increase(mirrord_cache_scrubbed_bytes_total{MIRROR}[1d]))`, "{{instance}}")),
}

var downloads = []panel{
	graph("In flight", units.Short, "Downloads in flight, including those that wait: at most cache.max_fills (default 32) blobs are downloaded at once. A curve that stays above it means a slow upstream or a saturated link.",
		q(`sum by (instance) (mirrord_fills_in_flight{MIRROR})`, "{{instance}}")),
	graph("Joined and resumed", units.Short, "joined: requests served by a download already in flight, at no cost. resumed after a break: the connection to the upstream broke. resumed from disk: what an earlier download had left was used. Many breaks: a bad link, or a proxy that cuts connections.",
		q(`sum(increase(mirrord_fill_joins_total{MIRROR}[$__rate_interval])) or vector(0)`, "joined"),
		q(`sum(increase(mirrord_upstream_body_resumes_total{MIRROR}[$__rate_interval])) or vector(0)`, "resumed after a break"),
		q(`sum(increase(mirrord_fill_resumes_total{MIRROR}[$__rate_interval])) or vector(0)`, "resumed from disk")),
	graph("Bytes from the upstream and to clients", units.BytesPerSecondIEC, "The gap is what the mirror saves. More from the upstream than to clients: downloads continue after their clients have left, or evicted blobs are downloaded again.",
		q(`sum(rate(mirrord_upstream_received_bytes_total{MIRROR}[$__rate_interval])) or vector(0)`, "from the upstream"),
		q(`sum(rate(mirrord_response_bytes_total{MIRROR}[$__rate_interval])) or vector(0)`, "to clients")),
}

// noFleet is the name of a curve for when no mirror has a bucket.
const noFleet = "no fleet"

var fleet = []panel{
	graph("Content from the bucket and the upstream", units.RequestsPerSecond, "Requests of clients for what was not cached. shared: the bucket of the fleet had it. fill: the upstream was asked. Much fill although other mirrors have the same images: look at the other panels of this row. 0 without a fleet.",
		q(zero(`sum by (via) (rate(mirrord_requests_total{MIRROR, via=~"shared|fill"}[$__rate_interval]))`, "via", "no requests"), "{{via}}")),
	graph("Requests to the bucket", units.RequestsPerSecond, "By what they do and their result. absent, precondition and conflict are answers; denied: the key or the clock. full: the store or its quota. slow: the store asks for fewer requests. error: no response. 0 without a fleet.",
		q(zero(`sum by (operation, result) (rate(mirrord_fleet_bucket_requests_total{MIRROR}[$__rate_interval]))`, "operation", noFleet), "{{operation}} {{result}}")),
	graph("Response time of the bucket", units.Seconds, "99th percentile by operation; that of a put includes all that is written. After 2 s without a response to a get the upstream is asked. 0 without requests.",
		q(quantile("0.99", `mirrord_fleet_bucket_request_duration_seconds_bucket{MIRROR}`), "{{operation}}")),
	graph("Bytes of the bucket", units.BytesPerSecondIEC, "Content read and written. Flat while uploads wait: the way to the store is as fast as it gets. 0 without a fleet.",
		q(zero(`sum by (direction) (rate(mirrord_fleet_bucket_bytes_total{MIRROR}[$__rate_interval]))`, "direction", noFleet), "{{direction}}")),
	graph("Uploads waiting", units.Short, "Blobs and manifests that wait to be uploaded, or are being uploaded. It rises with each pull of something new and falls to 0 within minutes; else the bucket is failing or slow. 0 without a fleet.",
		q(zero(`mirrord_fleet_uploads_waiting{MIRROR}`, "instance", noFleet), "{{instance}}")),
	graph("Wrong bytes in the bucket", units.Short, "Objects in the last hour that did not match their digest; no client got one as a whole, and they are replaced. Above 0: somebody else writes to the bucket, or a disk or memory is bad. 0 without a fleet.",
		q(zero(`sum by (instance) (increase(mirrord_fleet_bucket_corrupt_total{MIRROR}[1h]))`, "instance", noFleet), "{{instance}}")),
	graph("Tags looked for in the fleet", units.RequestsPerSecond, "Tags that were not fresh, by what the bucket had. used: what another mirror was told, so that the upstream was not asked. stale, absent: the upstream was asked, and the others have its answer. foreign: not written by a mirror with this secret. error: the bucket failed. 0 without fleet.secret_file.",
		q(zero(`sum by (result) (rate(mirrord_fleet_tags_total{MIRROR}[$__rate_interval]))`, "result", noFleet), "{{result}}")),
	graph("Pulls of the shared limit per hour", units.Short, "Parts that mirrors have taken of what is left of the pull limit, and the manifest GETs that were to be sent from them. refused: nothing was left above the reserve. alone: the bucket did not say in time, so that the fleet may spend more than is left. 0 without fleet.secret_file.",
		q(zero(`sum by (upstream) (increase(mirrord_fleet_grants_total{MIRROR}[1h]))`, "upstream", noFleet), "{{upstream}} parts"),
		q(zero(`sum by (upstream, result) (increase(mirrord_fleet_budget_pulls_total{MIRROR}[1h]))`, "upstream", noFleet), "{{upstream}} {{result}}")),
	graph("What the store can do", units.Short, "As each mirror has found out at its start: 1 if all have, 0 if one has not, or does not know yet. conditions: conditional writes, for leases, tags and the shared limit. ages, touch: to remove what nobody uses. secret: the mirrors have the same one; 0 without fleet.secret_file. 0 without a fleet.",
		q(zero(`min by (capability) (mirrord_fleet_capability{MIRROR})`, "capability", noFleet), "{{capability}}")),
}

var warmLists = []panel{
	graph("Images in the last run", units.Short, "Images of each list of warm.lists in its last run since the start. warmed: something of them was fetched. cached: all was there. waiting: for a pull limit. failed: the log names them. 0 without lists.",
		q(zero(`sum by (list, outcome) (mirrord_warm_images{MIRROR})`, "list", "none"), "{{list}} {{outcome}}")),
	graph("Runs of lists per day", units.Short, "By outcome. failed: the file cannot be read, or an image failed. waiting: a pull limit, or max_pulls, ended the run. skipped: the run before was not over. 0 without lists.",
		q(zero(`sum by (list, outcome) (increase(mirrord_warm_runs_total{MIRROR}[1d]))`, "list", "none"), "{{list}} {{outcome}}")),
	graph("Time to the next run", units.Seconds, "Until each list is due. A list that stays at 0 waits for its turn or is being warmed. 0 without lists.",
		q(zero(`clamp_min(min by (list) (mirrord_warm_next_run_timestamp_seconds{MIRROR}) - time(), 0)`, "list", "none"), "{{list}}")),
}

var webhooks = []panel{
	graph("Events per day", units.Short, "Events of each webhook of notify whose delivery is over. failed: after all attempts, within 15 minutes. refused: by a response that another attempt would not change; mirrord notify test says what to do. 0 without webhooks.",
		q(zero(`sum by (target, outcome) (increase(mirrord_notify_deliveries_total{MIRROR}[1d]))`, "target", "none"), "{{target}} {{outcome}}")),
	graph("Events that wait", units.Short, "For each webhook, those being delivered included. Above 0 for longer: it does not respond, and its events are tried again. At most 256 wait. 0 without webhooks.",
		q(zero(`sum by (target) (mirrord_notify_waiting{MIRROR})`, "target", "none"), "{{target}}")),
	graph("Dropped events", units.Short, "In the last hour, because more than 256 waited for a webhook. Above 0: it is slower than events come, or does not respond. 0 without webhooks.",
		q(zero(`sum by (target) (increase(mirrord_notify_dropped_total{MIRROR}[1h]))`, "target", "none"), "{{target}}")),
}

var access = []panel{
	graph("Refused by rules", units.RequestsPerSecond, "Requests that a rule of access.rules, or access.private, refuses; those of a rule on trial (dry run) are served. A rise after a change of the rules: look at the audit log before clients complain.",
		q(zero(`sum by (rule, dry_run) (rate(mirrord_access_refused_total{MIRROR}[$__rate_interval]))`, "rule", "none"), "{{rule}} dry run {{dry_run}}")),
	graph("Refused at a limit", units.RequestsPerSecond, "Requests and connections refused because one client was at a limit. The log has its address: a loop, or many clients behind one proxy or NAT.",
		q(`sum by (limit) (rate(mirrord_clients_refused_total{MIRROR}[$__rate_interval]))`, "{{limit}}")),
	graph("Waiting at a limit", units.Short, "Requests and responses that wait at a time for clients.requests_per_second or the bandwidth limits. Some is what a limit is for. 0 also without such a limit.",
		q(zero(`sum by (limit) (rate(mirrord_clients_waited_seconds_total{MIRROR}[$__rate_interval]))`, "limit", "none"), "{{limit}}")),
	graph("Failed logins", units.RequestsPerSecond, "Logins of clients with a wrong password or token. A few: someone mistypes. Many: an old password in a CI system, or someone guesses; the log has the addresses.",
		q(`sum by (method) (rate(mirrord_failed_logins_total{MIRROR}[$__rate_interval]))`, "{{method}}")),
	graph("Certificates valid for", units.Seconds, "Time until the certificate of a listener expires. One that is obtained by ACME is renewed when a third of its time is left. 0 without TLS.",
		q(zero(`min by (instance, listen) (mirrord_certificate_expiry_timestamp_seconds{MIRROR} - time())`, "listen", "no TLS"), "{{instance}} {{listen}}")),
	graph("Lost audit lines", units.Short, "Lines of access.audit_log that could not be written, or not as fast as they came. Above 0: the disk of the audit log is full or slow.",
		q(`sum by (instance) (increase(mirrord_audit_lost_total{MIRROR}[$__rate_interval]))`, "{{instance}}")),
}

var process = []panel{
	graph("Memory", units.BytesIEC, "Resident memory of the process. It should level out; a line that only rises is a leak: save a profile of the heap before restarting, see docs/operations.md.",
		q(ofMirror("process_resident_memory_bytes{MIRROR}"), "{{instance}}")),
	graph("CPU", units.Short, "Processors in use. Cached blobs are sent by the kernel, so this stays low; near the number of processors all requests slow down.",
		q(ofMirror("rate(process_cpu_seconds_total{MIRROR}[$__rate_interval])"), "{{instance}}")),
	graph("Open files and goroutines", units.Short, "Each client uses a socket and a file. Files near the limit: connections will be refused; raise LimitNOFILE. Goroutines that only rise: a leak.",
		q(ofMirror("process_open_fds{MIRROR}"), "{{instance}} files"),
		q(ofMirror("process_max_fds{MIRROR}"), "{{instance}} file limit"),
		q(ofMirror("go_goroutines{MIRROR}"), "{{instance}} goroutines")),
	graph("Versions", units.Short, "Mirrors by version. Two versions for long: one was left out of an upgrade.",
		q(zero(`count by (version) (mirrord_build_info{MIRROR})`, "version", "no mirror responds"), "{{version}}")),
}

// ofMirror leaves out the processes of other jobs, and is 0 while no mirror responds.
func ofMirror(expr string) string {
	return zero(expr+` and on (job, instance) mirrord_build_info{MIRROR}`, "instance", "no mirror responds")
}
