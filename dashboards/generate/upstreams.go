package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// upstreams tells what each upstream allows, and how it does.
var upstreams = board{
	uid:         "mirrord-upstreams",
	title:       "mirrord upstreams and quota",
	description: "The registries behind a mirror: what is left of their pull limits, what is spent and saved, and how they respond.",
	filters:     []variable{job, instance, upstream},
	rows: []row{
		{"Budget", budget},
		{"Pull limits", limits},
		{"Health", health},
		{"Traffic", traffic},
	},
}

// noLimit is the name of an upstream for when none reports a limit.
const noLimit = "no limit reported"

var budget = []panel{
	figure("Budget left", units.PercentUnit, "Share of the pull limit that is left. At 0 only cached images can be pulled until the window ends. 100 % if the upstream reports no limit.",
		[]level{{"red", 0}, {"orange", 0.1}, {"green", 0.4}},
		q(`sum by (upstream) (mirrord_upstream_quota_remaining{UPSTREAM}) / clamp_min(sum by (upstream) (mirrord_upstream_quota_limit{UPSTREAM}), 1) or on () label_replace(vector(1), "upstream", "`+noLimit+`", "", "")`, "{{upstream}}")),
	figure("Used up in", units.Seconds, "Time until no pull is left at the rate of the last hour; at most a week is shown. Shorter than the window, six hours at Docker Hub: pulls will be refused.",
		[]level{{"red", 0}, {"orange", 3600}, {"green", 21600}},
		q(`clamp_max(sum by (upstream) (mirrord_upstream_quota_remaining{UPSTREAM}) / clamp_min(sum by (upstream) (rate(mirrord_pulls_spent_total{UPSTREAM}[1h])), 1e-9), 604800) or on () label_replace(vector(604800), "upstream", "`+noLimit+`", "", "")`, "{{upstream}}")),
	figure("Pulls possible in", units.Seconds, "Time until the upstream is asked again after it has limited, with the credential that may first. 0: now.",
		[]level{{"green", 0}, {"red", 1}},
		q(zero(`max by (upstream) (min by (upstream, kind) (mirrord_upstream_wait_seconds{UPSTREAM}))`, "upstream", noLimit), "{{upstream}}")),
	figure("Pulls spent", units.Short, "Manifests in the time shown that the upstream has sent, and Docker Hub counts.",
		[]level{{"text", 0}}, q(zero(`sum by (upstream) (increase(mirrord_pulls_spent_total{UPSTREAM}[$__range]))`, "upstream", "none"), "{{upstream}}")),
	figure("Pulls saved", units.Short, "Manifests in the time shown that clients got without one. Should be many times those spent.",
		[]level{{"text", 0}, {"green", 1}}, q(zero(`sum by (upstream) (increase(mirrord_pulls_saved_total{UPSTREAM}[$__range]))`, "upstream", "none"), "{{upstream}}")),
	figure("Failing hosts", units.Short, "Hosts of the upstreams, their token services and storage, that failed five times in a row. Above 0: clients get cached content only; the log names the host.",
		[]level{{"green", 0}, {"red", 1}}, q(zero(`max by (upstream) (mirrord_upstream_hosts_failing{UPSTREAM})`, "upstream", "none"), "{{upstream}}")),
}

var limits = []panel{
	graph("Pulls left", units.Short, "As last reported by the upstream, for each credential; a HEAD every quota.probe updates it. The limit is shared with everything behind the same address or login, so a drop without pulls spent here is someone else's.",
		q(zero(`min by (upstream, credential) (mirrord_upstream_quota_remaining{UPSTREAM})`, "upstream", noLimit), "{{upstream}} {{credential}} left"),
		q(zero(`max by (upstream, credential) (mirrord_upstream_quota_limit{UPSTREAM})`, "upstream", noLimit), "{{upstream}} {{credential}} limit")),
	graph("Pulls saved and spent", units.OpsPerSecond, "Manifests sent to clients without a pull, and pulls that the upstream has counted. If saved is not many times spent, clients keep pulling new images, or the cache evicts too early.",
		q(zero(`sum by (upstream) (rate(mirrord_pulls_saved_total{UPSTREAM}[$__rate_interval]))`, "upstream", "none"), "{{upstream}} saved"),
		q(zero(`sum by (upstream) (rate(mirrord_pulls_spent_total{UPSTREAM}[$__rate_interval]))`, "upstream", "none"), "{{upstream}} spent")),
	graph("Pulls spent per hour", units.Short, "More than the number of images that are new to the cache: manifests are evicted, the index was lost, or tags move often.",
		q(zero(`sum by (upstream, credential) (increase(mirrord_pulls_spent_total{UPSTREAM}[1h]))`, "upstream", "none"), "{{upstream}} {{credential}}")),
	graph("Time until the next request", units.Seconds, "After a 429: how long no pull (kind pulls) or no request at all (kind requests) is sent. Above 0, requests for content that is not cached fail.",
		q(zero(`max by (upstream, credential, kind) (mirrord_upstream_wait_seconds{UPSTREAM})`, "upstream", noLimit), "{{upstream}} {{credential}} {{kind}}")),
	graph("429 responses", units.Short, "By what the upstream limits. An occasional one is how the mirror learns of the limit; more than one a minute is not normal.",
		q(zero(`sum by (upstream, credential, kind) (increase(mirrord_upstream_limited_total{UPSTREAM}[$__rate_interval]))`, "upstream", "none"), "{{upstream}} {{credential}} {{kind}}")),
	graph("Tag checks by outcome", units.OpsPerSecond, "HEADs upstream for tags that are no longer fresh, of all upstreams; they cost no pull. While there are failed or limited ones, clients get stale copies. Many same and few moved: tags.fresh or a rule in tags.rules could be longer.",
		q(`sum by (outcome) (rate(mirrord_tag_checks_total{MIRROR}[$__rate_interval]))`, "{{outcome}}")),
}

var health = []panel{
	graph("Failing hosts", units.Short, "Hosts that have failed five times in a row; they are sent only a ping every 5 s, and clients get cached content or an immediate error. Flapping: the host responds to pings and to nothing else.",
		q(zero(`max by (upstream) (mirrord_upstream_hosts_failing{UPSTREAM})`, "upstream", "none"), "{{upstream}}")),
	graph("Failed requests", units.RequestsPerSecond, "4xx: not found or refused; a ping answers 401 and is not shown. 429: limited. 5xx: the upstream fails. error: no response at all; check DNS, the network, a proxy.",
		q(zero(`sum by (operation, status) (rate(mirrord_upstream_requests_total{UPSTREAM, operation!="ping", status=~"4xx|429|5xx|error"}[$__rate_interval]))`, "operation", "none"), "{{operation}} {{status}}")),
	graph("Credentials in use", units.Short, "1: in use, 0: disabled because its login failed. At 0, pulls continue with the other credentials, or fail; the log says why, and a corrected password file is read at once.",
		q(zero(`min by (upstream, credential) (mirrord_upstream_login_usable{UPSTREAM})`, "upstream", "no upstream"), "{{upstream}} {{credential}}")),
	graph("Time to response header", units.Seconds, "99th percentile by operation, each hop of a redirect counted separately. Above 1.5 s clients begin to get stale copies of tags; at 15 s a request times out. 0 without requests.",
		q(quantile("0.99", `mirrord_upstream_request_duration_seconds_bucket{UPSTREAM}`), "{{operation}}")),
	graph("Stale responses by reason", units.RequestsPerSecond, "Stale copies of tags, of all upstreams. unavailable, slow and fallback: the upstream fails or is slow. pulls and requests: it limits. reserve and client: pulls are saved for others.",
		q(`sum by (reason) (rate(mirrord_stale_answers_total{MIRROR}[$__rate_interval]))`, "{{reason}}")),
	graph("Failed requests of clients", units.RequestsPerSecond, "Requests for content of this upstream that was unavailable, whatever status the client got.",
		q(zero(`sum by (upstream) (rate(mirrord_requests_total{UPSTREAM, status="5xx"}[$__rate_interval]))`, "upstream", "none"), "{{upstream}}")),
}

var traffic = []panel{
	graph("Requests by operation", units.RequestsPerSecond, "manifest_get is what Docker Hub counts; manifest_head, blobs and tokens are free. manifest_get as frequent as manifest_head: nothing is cached. Tokens as frequent as the rest: they expire at once; check the clock.",
		q(zero(`sum by (operation) (rate(mirrord_upstream_requests_total{UPSTREAM}[$__rate_interval]))`, "operation", "none"), "{{operation}}")),
	graph("Bytes received", units.BytesPerSecondIEC, "By upstream. Flat at the speed of the link: downloads wait for it.",
		q(zero(`sum by (upstream) (rate(mirrord_upstream_received_bytes_total{UPSTREAM}[$__rate_interval]))`, "upstream", "none"), "{{upstream}}")),
	graph("Downloads resumed", units.Short, "Downloads that broke off and were resumed where they ended; clients do not notice. Many: a bad link, or a proxy that cuts connections.",
		q(zero(`sum by (upstream) (increase(mirrord_upstream_body_resumes_total{UPSTREAM}[$__rate_interval]))`, "upstream", "none"), "{{upstream}}")),
}
