package registries

import "maps"

const (
	unknown     = "404 MANIFEST_UNKNOWN"
	noReferrers = "404 UNSUPPORTED, 404 UNSUPPORTED" // clients look for the referrers tag
	denied      = "403 DENIED"
)

// other is the host of a token service in another domain.
var other = []string{"other.example.org"}

// rows are the profiles with the outcomes that differ from the usual ones.
var rows = []row{
	{profile: "hub"},
	{profile: "ghcr", want: outcomes{"referrers": noReferrers}},
	{profile: "quay", want: outcomes{"referrers": "404 UNSUPPORTED, 200 1"}},
	{profile: "k8s", want: openly(outcomes{
		"policy":          "200 stale, 503 UNAVAILABLE", // only the registry's own is believed
		"short tag limit": "200, 200",                   // of the host that lists are redirected to
		"referrers":       noReferrers,
	})},
	{profile: "google", want: outcomes{"missing repository": unknown, "referrers": noReferrers}},
	{profile: "ecr-public", want: outcomes{"missing repository": unknown, "referrers": noReferrers}},
	{profile: "gitlab", tokenHosts: other, want: outcomes{
		"denied repository":  denied,
		"missing repository": denied,
		"tags of nothing":    denied,
		"referrers":          noReferrers,
	}},
	{profile: "lscr", tokenHosts: other, want: outcomes{"referrers": noReferrers}},
	{profile: "mcr", want: openly(outcomes{"tags of nothing": "503 UNAVAILABLE"})}, // Azure's XML, not a registry's error
	{profile: "acr"},
	{profile: "ecr", login: true, want: tokenless(outcomes{"denied repository": denied, "missing repository": unknown})},
	{profile: "ngc"},
	{profile: "redhat", want: openly(outcomes{
		"later pull": "200 after 2 HEADs, 3 GETs", // no HEAD has a digest
		"referrers":  noReferrers,
	})},
	{profile: "oracle", want: outcomes{
		"denied repository":  denied,
		"missing repository": denied,
		"tags of nothing":    denied,
		"referrers":          noReferrers,
	}},

	{profile: "distribution", want: outcomes{"referrers": noReferrers}},
	{profile: "harbor", repo: "hub/app", stored: "hub/library/app", want: outcomes{
		"missing repository": unknown,
		"tags of nothing":    "200",
		"short tag limit":    "200, 200", // after a redirect
	}},
	{profile: "artifactory", want: outcomes{
		"missing tag":        denied,
		"deleted tag":        denied,
		"missing repository": unknown,
	}},
	{profile: "nexus", login: true, want: tokenless(outcomes{"missing repository": unknown, "referrers": noReferrers})},
	{profile: "gitea", want: outcomes{
		"missing repository": unknown,
		"pages of tags":      "v1 v2", // without a link to the next
		"referrers":          noReferrers,
	}},
	{profile: "zot", login: true, want: tokenless(outcomes{"denied repository": denied, "missing repository": unknown})},
}

// tokenless returns the outcomes at a registry without a token service.
func tokenless(others outcomes) outcomes {
	all := outcomes{"limited tokens": "200", "token hiccup": "200, 200"}
	maps.Copy(all, others)
	return all
}

// openly returns the outcomes at a registry where nothing is private.
func openly(others outcomes) outcomes {
	all := outcomes{"denied repository": "200", "missing repository": unknown, "wrong login": "200"}
	maps.Copy(all, others)
	return tokenless(all)
}
